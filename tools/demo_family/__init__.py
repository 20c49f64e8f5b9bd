"""What made the demo family: data, training, conversion and evaluation of the small models that ship. See README.md there."""

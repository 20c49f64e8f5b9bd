"""Getting extensions onto this machine and off it again. Nothing of an extension runs here."""

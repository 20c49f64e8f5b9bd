"""Model families: what a checkpoint file's tensors mean. One file a family."""

"""The forest file: the tree IR laid out as the kernel reads it, in place, from a shared mapping."""

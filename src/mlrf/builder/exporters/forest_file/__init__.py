"""The forest file: the tree IR in the layout that the kernel maps and uses in place."""

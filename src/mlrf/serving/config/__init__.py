"""The server's settings: the table of options, and the loader of their values."""

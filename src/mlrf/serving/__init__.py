"""The server: HTTP, handlers, metrics and processes. Never imports `build`: a server needs no training library."""

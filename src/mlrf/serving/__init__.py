"""The server: HTTP, handlers, metrics and processes. Never imports `builder`: a server needs no training library."""

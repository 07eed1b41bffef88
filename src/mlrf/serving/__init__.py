"""The server: HTTP, gRPC, handlers, metrics and processes. It never imports `builder`, so it needs no training library."""

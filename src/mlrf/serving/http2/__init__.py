"""HTTP/2 (RFC 9113) on the worker's event loop: frames, header compression, flow control, limits. gRPC is served over it."""

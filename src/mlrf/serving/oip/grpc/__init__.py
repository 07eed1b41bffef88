"""gRPC over `serving.http2`: the Open Inference Protocol's calls, health and reflection."""

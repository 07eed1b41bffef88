"""gRPC: the Open Inference Protocol's calls, health and reflection. What imports grpcio is imported by workers alone."""

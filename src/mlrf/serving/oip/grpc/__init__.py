"""gRPC: the Open Inference Protocol's calls, health and reflection. Modules that import grpcio are imported by workers only."""

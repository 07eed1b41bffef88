"""The Open Inference Protocol: one data plane, with REST and gRPC transports."""

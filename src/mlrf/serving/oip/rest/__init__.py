"""The Open Inference Protocol over HTTP, under `/v2`: converts bodies and requests of the data plane."""

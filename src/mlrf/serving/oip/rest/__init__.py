"""The Open Inference Protocol over HTTP, under `/v2`: converts between bodies and the data plane's requests and responses."""

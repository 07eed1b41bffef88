"""The Open Inference Protocol over HTTP, under `/v2`: bodies to requests of the data plane, responses to bodies."""

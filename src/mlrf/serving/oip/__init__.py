"""The data plane of the Open Inference Protocol: tensors in, tensors out, whatever carries them."""

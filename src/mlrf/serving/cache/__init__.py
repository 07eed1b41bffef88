"""The response cache: identical request bytes to the same model get identical response bytes."""

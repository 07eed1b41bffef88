"""Feature lookup by key: from the key in a request to the stored row, shared by the native API and the inference protocol."""

"""Feature stores: rows that were prepared in advance, looked up by key."""

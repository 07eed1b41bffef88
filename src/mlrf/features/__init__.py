"""Features by key: rows that were prepared before anyone asks, found by what the caller knows."""

"""What runs a request's work, whatever transport it came by: results, executor, single flight, admission, cost model, clock."""

"""Runs the work of requests for every transport: results, executor, single flight, admission, cost model, clock."""

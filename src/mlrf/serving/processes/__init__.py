"""The processes of a server: one arbiter, which answers no requests, and workers, each with its own listener."""

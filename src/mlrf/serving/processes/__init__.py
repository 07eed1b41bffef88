"""The processes of a server: one arbiter, which answers no requests, and workers with a listener each."""

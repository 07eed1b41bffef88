"""Processes: one arbiter that never answers, and workers that never share a listener."""

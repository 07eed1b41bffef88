"""Bundles: the contents of one, and writing it so that a reader sees all of it or none."""

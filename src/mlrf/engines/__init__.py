"""Engines compute raw margins of rows: one interface, a module for each engine, and the selection of one."""

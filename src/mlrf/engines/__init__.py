"""Engines turn rows into raw margins: one interface, one module for each engine, and the selection of one."""

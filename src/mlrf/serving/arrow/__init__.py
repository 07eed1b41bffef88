"""Reads batches from, and writes answers as, Arrow IPC streams (`application/vnd.apache.arrow.stream`).

It uses no Arrow library: pyarrow takes 170 MB and starts threads, and nanoarrow decompresses a buffer before its size is known.
Every length and offset is checked before memory is allocated for it.
"""

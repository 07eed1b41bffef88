"""Arrow IPC streams in and out: batches from data frames (`application/vnd.apache.arrow.stream`).

Read and written here, without a library: pyarrow is 170 MB and starts threads, nanoarrow inflates what it is sent before its
size is known. Every length and offset is checked before anything is allocated by it.
"""

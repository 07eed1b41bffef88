"""Thresholds of what a server does at once: every time and size above which work leaves the event loop, or is cut into pieces.

1. Work whose time can be predicted is limited to `MAX_LOOP_S`; what is above it runs in the worker's thread. Reading a body and
   compressing an answer are limited by size instead, as their time follows from it.
2. One turn of the loop answers requests for at most `TURN_S`.
3. A call into a library that keeps the GIL stops the event loop, whichever thread makes it. Large bodies are therefore read and
   written in pieces.

What a server refuses, and how much of it may wait, is stated where it is counted, not here.
"""

from __future__ import annotations

MAX_LOOP_S = 1e-3
"""How long the work of one request may occupy the event loop."""
TURN_S = 5e-3
"""How long the loop answers requests before it polls its sockets again."""
NUMBER_S = 1e-6
"""Estimated time to apply the link to one margin and to write the result, for answers of many numbers to one row."""

FAST_JSON_BYTES = 256 << 10
"""Native JSON: the fast parser decodes bodies up to this size in one call; longer ones are left to the strict parser."""
NATURAL_FEATURES = 2000
"""Native JSON: natural bodies of wider models are left to the strict parser: compiling decoders for them takes too long."""
DECODED_FEATURES = 100
"""Native JSON: all decoders of wider models are compiled at the start: one takes about 15 us a feature."""
PLANE_MODELS = 8
"""Inference protocol: of more models, the data plane is made at the start: it takes about 0.2 ms a model."""
LEAF_S = 100e-9
"""Estimated time of a tree whose leaf a response reports, or whose sum starts at a base margin."""
STRICT_JSON_BYTES = 16 << 10
"""Native JSON: a body that the fast parser does not accept is read in the worker's thread if it is longer."""
INFLATED_BYTES = 64 << 10
"""A body that inflates to more is inflated in the worker's thread; this much takes about 0.1 ms."""
TENSOR_BYTES = 256 << 10
"""Open Inference Protocol: more bytes of tensors, or of a protobuf message, are read in the worker's thread."""
PACKED_BYTES = 64 << 10
"""Open Inference Protocol: an answer of more bytes of output values is encoded in the worker's thread."""
TENSOR_COUNT = 8192
"""Open Inference Protocol: more tensors are read in the worker's thread, and their rows are not looked up in the cache."""
TENSOR_JSON_BYTES = 64 << 10
"""Open Inference Protocol: longer JSON is read in the worker's thread."""
ARROW_BYTES = 64 << 10
"""A longer Arrow stream, or one whose schema was not read before, is read in the worker's thread."""
ARROW_VALUES = 16 << 10
"""An Arrow stream that may hold more values is read in the worker's thread: a value takes at least a bit, and some 50 ns."""
COMPRESSED_BYTES = 16 << 10
"""A longer answer is compressed in the worker's thread; this much takes a fraction of a millisecond."""
COUNTED_BYTES = 16 << 10
"""The tensors of longer requests are counted before they are parsed; shorter ones cost little, whatever they hold."""

JSON_PIECE_BYTES = 64 << 10
"""Bytes of a JSON array decoded by one call. One call for eight megabytes keeps the GIL for up to 280 ms, a piece for two."""
JSON_PIECE_VALUES = 4096
"""Numbers encoded as JSON by one call."""
CONVERTED_VALUES = 1 << 16
"""Python objects converted to float64 by one call."""

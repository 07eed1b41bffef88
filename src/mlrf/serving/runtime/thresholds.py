"""When the work of one request leaves the event loop: every threshold of time and size in one place.

Work whose time can be predicted is held to `MAX_LOOP_S`. Reading a body and compressing an answer are held to sizes instead,
which take about as long.
"""

from __future__ import annotations

MAX_LOOP_S = 1e-3
"""How long one request may hold the event loop."""
STRICT_JSON_BYTES = 16 << 10
"""Native JSON: a body that the fast decoder does not take is read in the worker's thread when it is longer."""
INFLATED_BYTES = 64 << 10
"""What inflates in about 0.1 ms; a body that inflates to more is inflated in the worker's thread."""
TENSOR_BYTES = 256 << 10
"""Open Inference Protocol: tensors or protobuf messages of more are read in the worker's thread."""
TENSOR_COUNT = 8192
"""And more tensors than this; no row that large is looked up in the cache."""
TENSOR_JSON_BYTES = 64 << 10
"""JSON of more is read in the worker's thread."""
ARROW_BYTES = 64 << 10
"""An Arrow stream of more, or one whose schema was not read before, is read in the worker's thread."""
ARROW_VALUES = 16 << 10
"""And one that may hold more values: a value takes a bit at the least, and some 50 ns."""
COMPRESSED_BYTES = 16 << 10
"""What is compressed in a fraction of a millisecond; a longer answer is compressed in the worker's thread."""
COUNTED_BYTES = 16 << 10
"""Requests of more are counted before they are parsed; shorter ones cost little, whatever they hold."""

"""The importer of treelite's checkpoints (version 4: `Model.serialize`); treelite is not needed to read one.

checkpoint (bytes → arrays) → trees (the IR); `reader` adds outputs, task, link and features; `reference` runs treelite's own
GTIL, in a child process.
"""

import struct

from mlrf.builder.importers.interface import Library
from mlrf.builder.importers.treelite.reader import read_treelite

_HEAD = struct.Struct("<3iBB")
_MAX_VERSION = 40


def _recognises(content: bytes) -> bool:
    if len(content) < 2 * _HEAD.size:
        return False
    major, minor, patch, threshold_type, leaf_type = _HEAD.unpack_from(content)
    is_typed = threshold_type < 4 and leaf_type < 4  # noqa: PLR2004  the types that treelite numbers
    return major in {3, 4} and 0 <= minor < _MAX_VERSION and 0 <= patch < _MAX_VERSION and is_typed


LIBRARY = Library(
    name="treelite",
    reads="treelite checkpoints (Model.serialize) and its Models",
    packages=("treelite",),
    recognises=_recognises,
    read=read_treelite,
    takes_names=True,
)

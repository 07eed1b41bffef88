"""A forest opened at every level of this processor's instructions, for the tests of the kernel."""

from __future__ import annotations

from pathlib import Path

from mlrf.builder.exporters.forest_file.encode import encode_forest
from mlrf.core.forest import Forest
from mlrf.engines.tree_kernel import TreeEngine

LEVELS = ("baseline", "avx2", "avx512", "vbmi")
MOST_BYTES = 1 << 26
"""A limit of the table of a background that small forests do not reach."""


def engines(forest: Forest, folder: Path) -> list[TreeEngine]:
    """Return a forest's engines, that of the lowest level first; a level that the processor lacks is left out."""
    path = folder / "forest.bin"
    path.write_bytes(encode_forest(forest))
    found = []
    for level in LEVELS:
        try:
            found.append(TreeEngine(path, level))
        except ValueError:
            assert level != "baseline"
    return found

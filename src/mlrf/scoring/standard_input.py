"""Standard input as a file to score: it is copied to a temporary file, because most table formats need random access."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mlrf.scoring.input_files import InputFile
from mlrf.scoring.input_paths import InputPath

_CHUNK_BYTES = 1 << 20


@contextmanager
def copied_input(stream: BinaryIO) -> Iterator[InputFile]:
    """Yield what a stream contains as a file, whose format follows from its first bytes."""
    with tempfile.NamedTemporaryFile(prefix="mlrf-input-") as copy:
        shutil.copyfileobj(stream, copy, _CHUNK_BYTES)
        copy.flush()
        yield InputFile(InputPath("standard input"), copy.tell(), 0, Path(copy.name))

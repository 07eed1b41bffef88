"""Makes `background.bin`: the rows against which a server explains predictions, within the limit of their table."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mlrf.core.background_rows import encode_background
from mlrf.core.errors import ConfigError, InvalidRequestError, NotExplainableError, SampleError
from mlrf.core.leniency import Leniency
from mlrf.core.manifest import FOREST, CombinationEntry
from mlrf.core.schema import Schema
from mlrf.engines.interface import Explainer
from mlrf.engines.selection import tree_engine
from mlrf.model.background import explainer_against
from mlrf.model.row_files import read_file
from mlrf.model.table_input import read_rows

_LENIENCY = Leniency("ignore", caller="command line", natural=True)
"""Columns that are not features are ignored; values are checked as those of requests are."""


def check_background(background: Any) -> None:
    """Refuse a path without a file before the long steps of a build; SampleError."""
    if isinstance(background, str | os.PathLike) and not Path(background).is_file():
        raise SampleError(f"--background: {background} does not exist or is not a file")


def background_file(
    background: Any, schema: Schema, forest: bytes, combination: CombinationEntry | None, folder: Path
) -> bytes:
    """Return the file of a background: the path of a Parquet, CSV or JSON file, or rows of any form that a model predicts.

    SampleError if a row is invalid, there are none, or their table would take more memory than a server may use for it.
    """
    try:
        given = background
        if isinstance(background, str | os.PathLike):
            given = read_file(Path(background), schema)
        rows = read_rows(schema, given, _LENIENCY)
        (folder / FOREST).write_bytes(forest)
        engine = tree_engine(folder / FOREST, combination)
        assert isinstance(engine, Explainer)  # noqa: S101  what cannot be explained is refused before
        explainer_against(engine, rows.data)
    except (ConfigError, InvalidRequestError, NotExplainableError) as error:
        raise SampleError(f"--background: {error}", **error.details) from error
    return encode_background(rows.tobytes(), len(schema.features))

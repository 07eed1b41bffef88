"""Makes the files of the games that a server explains on request, such as `background.bin` and `groups.json`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from mlrf.builder.bundle.keyed_rows import Progress
from mlrf.core.errors import ConfigError, InvalidRequestError, SampleError
from mlrf.core.game_rows import encode_game_rows
from mlrf.core.leniency import Leniency
from mlrf.core.manifest import FOREST, CombinationEntry
from mlrf.core.schema import Schema
from mlrf.engines.interface import Explainer
from mlrf.engines.selection import tree_engine
from mlrf.model.explanation_kinds import GAME_OPTIONS, GameOption, check_arguments
from mlrf.model.game_model import GameModel
from mlrf.model.prepared_game import prepared_game
from mlrf.model.row_files import read_file
from mlrf.model.table_input import read_rows

_MAX_BYTES = 16 << 20
_LENIENCY = Leniency("ignore", caller="command line", natural=True)
"""Columns that are not features are ignored; values are checked as those of requests are."""


def read_games(given: Mapping[str, Any]) -> list[tuple[GameOption, Any]]:
    """Return the options that a build is given, with documents read, before its long steps.

    Rows are the path of a Parquet, CSV or JSON file, or of any form that a model predicts; a document is the path of a JSON
    file, or a mapping. SampleError for a path of rows without a file, ConfigError for a document of another form.
    """
    check_arguments("build", given)
    values = [(option, given.get(option.name)) for option in GAME_OPTIONS]
    return [(option, _checked(option, value)) for option, value in values if value is not None]


def game_files(
    given: Sequence[tuple[GameOption, Any]],
    name: str,
    schema: Schema,
    forest: bytes,
    combination: CombinationEntry | None,
    folder: Path,
    progress: Progress,
) -> dict[str, bytes | Path]:
    """Return the files of options by name.

    SampleError for rows that are invalid, or whose table would take more memory than a server may use for it; ConfigError for
    a document that does not fit the model.
    """
    (folder / FOREST).write_bytes(forest)
    engine = tree_engine(folder / FOREST, combination)
    assert isinstance(engine, Explainer)  # noqa: S101  what cannot be explained is refused before
    model = GameModel(name, schema.names, engine.combinations)
    files: dict[str, bytes | Path] = {}
    for option, value in given:
        if option.is_large:
            progress(f"tabulating the {option.name}", 0.0)
        try:
            read, file = _rows(value, schema) if option.document is None else _document(value)
            prepared_game(schema.names, engine, [(option, option.content(read, model))])
        except (ConfigError, InvalidRequestError) as error:
            refused = SampleError if option.document is None else ConfigError
            raise refused(f"--{option.name}: {error}", **error.details) from error
        files[option.file] = file
        if option.is_large:
            progress(f"tabulating the {option.name}", 1.0)
    return files


def _checked(option: GameOption, given: Any) -> Any:
    is_path = isinstance(given, str | os.PathLike)
    if (form := option.document) is None:
        if is_path and not Path(given).is_file():
            raise SampleError(f"--{option.name}: {given} does not exist or is not a file")
        return given
    try:
        if not is_path:
            return msgspec.convert(given, form.type)
        if Path(given).stat().st_size > _MAX_BYTES:
            raise ConfigError(f"--{option.name}: {given} is larger than {_MAX_BYTES >> 20} MiB")
        return msgspec.json.decode(Path(given).read_bytes(), type=form.type)
    except OSError as error:
        raise ConfigError(f"--{option.name}: {given} cannot be read: {error.strerror}") from error
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise ConfigError(f"--{option.name}: not {form.example}: {error}") from error


def _rows(given: Any, schema: Schema) -> tuple[Any, bytes]:
    if isinstance(given, str | os.PathLike):
        given = read_file(Path(given), schema)
    rows = read_rows(schema, given, _LENIENCY)
    return rows.data, encode_game_rows(rows.tobytes(), len(schema.features))


def _document(given: Any) -> tuple[Any, bytes]:
    return given, msgspec.json.format(msgspec.json.encode(given), indent=2) + b"\n"

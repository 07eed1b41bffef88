"""Makes `groups.json`: the groups of features that a server explains as one player each."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from mlrf.core.errors import ConfigError, InvalidRequestError
from mlrf.core.manifest import FOREST, CombinationEntry
from mlrf.core.schema import Schema
from mlrf.engines.interface import Explainer
from mlrf.engines.selection import tree_engine
from mlrf.model.feature_groups import players_of

_MAX_BYTES = 16 << 20


def read_groups(groups: Any) -> Mapping[str, Sequence[str]] | None:
    """Read groups: the path of a JSON file, or a mapping, of name to features; ConfigError if it is neither."""
    if groups is None:
        return None
    try:
        if isinstance(groups, str | os.PathLike):
            if Path(groups).stat().st_size > _MAX_BYTES:
                raise ConfigError(f"--groups: {groups} is larger than {_MAX_BYTES >> 20} MiB")
            return msgspec.json.decode(Path(groups).read_bytes(), type=dict[str, list[str]])
        return msgspec.convert(groups, dict[str, list[str]])
    except OSError as error:
        raise ConfigError(f"--groups: {groups} cannot be read: {error.strerror}") from error
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise ConfigError(f'--groups: not {{"group": ["feature", …]}}: {error}') from error


def groups_file(
    groups: Mapping[str, Sequence[str]],
    name: str,
    schema: Schema,
    forest: bytes,
    combination: CombinationEntry | None,
    folder: Path,
) -> bytes:
    """Return the file of a model's groups; ConfigError if they are not groups of its features."""
    (folder / FOREST).write_bytes(forest)
    engine = tree_engine(folder / FOREST, combination)
    assert isinstance(engine, Explainer)  # noqa: S101  what cannot be explained is refused before
    try:
        players_of(list(schema.names), engine.combinations, groups, name)
    except InvalidRequestError as error:
        raise ConfigError(f"--groups: {error}") from error
    return msgspec.json.format(msgspec.json.encode(groups), indent=2) + b"\n"

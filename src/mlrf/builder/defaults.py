"""Reads the caller's defaults of optional features."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec.structs import replace

from mlrf.core.errors import ConfigError, InvalidRequestError
from mlrf.core.feature import Value
from mlrf.core.schema import Schema

_MAX_BYTES = 16 << 20


def read_defaults(defaults: str | os.PathLike[str] | Mapping[str, Value] | None) -> dict[str, Value]:
    """Read defaults: the path of a JSON file, or a mapping, of feature name to value; ConfigError if it is neither."""
    if defaults is None:
        return {}
    try:
        if isinstance(defaults, str | os.PathLike):
            if Path(defaults).stat().st_size > _MAX_BYTES:
                raise ConfigError(f"the defaults {defaults} are larger than {_MAX_BYTES >> 20} MiB")
            return msgspec.json.decode(Path(defaults).read_bytes(), type=dict[str, Value])
        return msgspec.convert(defaults, dict[str, Value], str_keys=True)
    except OSError as error:
        raise ConfigError(f"the defaults {defaults} cannot be read: {error.strerror}") from error
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise ConfigError(
            f"the defaults are not {{feature: value}} with numbers, strings, booleans or null: {error}"
        ) from error


def with_defaults(schema: Schema, defaults: Mapping[str, Value]) -> Schema:
    """Return a schema in which these features are optional.

    ConfigError for a name that is not a feature, or a wrong default.
    """
    if unknown := [name for name in defaults if name not in schema.names]:
        raise ConfigError(f"the defaults name {unknown[0]!r}, which is not a feature of the model")
    features = (
        replace(feature, optional=True, default=defaults[feature.name]) if feature.name in defaults else feature
        for feature in schema.features
    )
    optional = Schema(tuple(features))
    try:
        optional.check_defaults()
    except InvalidRequestError as error:
        raise ConfigError(f"the defaults: {error}") from error
    return optional

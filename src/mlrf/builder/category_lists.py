"""Reads the caller's category lists, by feature name."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from mlrf.builder.importers.imported_model import CategoryLists
from mlrf.core.errors import SampleError
from mlrf.core.feature import Category

_MAX_LIST_BYTES = 256 << 20


def read_category_lists(categories: Any) -> CategoryLists:
    """Read category lists: the path of a JSON file, or a mapping, of feature name to list; SampleError if it is neither."""
    if categories is None:
        return {}
    try:
        if isinstance(categories, str | os.PathLike):
            if Path(categories).stat().st_size > _MAX_LIST_BYTES:
                raise SampleError(f"the category lists {categories} are larger than {_MAX_LIST_BYTES >> 20} MiB")
            return msgspec.json.decode(Path(categories).read_bytes(), type=dict[str, list[Category]])
        return msgspec.convert(categories, dict[str, list[Category]], str_keys=True)
    except OSError as error:
        raise SampleError(f"the category lists {categories} cannot be read: {error.strerror}") from error
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise SampleError(
            f"the category lists are not {{feature: [category, …]}} with strings, numbers or booleans: {error}"
        ) from error


def check_category_names(lists: CategoryLists, names: Iterable[str]) -> None:
    """Raise SampleError for a list of a feature that the model does not have."""
    if unknown := sorted(lists.keys() - set(names)):
        raise SampleError(
            f"the category lists name {unknown[0]!r}, which is not a feature of the model", feature=unknown[0]
        )

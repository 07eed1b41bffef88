"""The columns of an XGBoost file: names, kinds, and since 3.1 the categories of a data frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlrf.builder.category_lists import check_category_names
from mlrf.builder.importers.imported_model import CategoryNames
from mlrf.builder.importers.xgboost.document import Member
from mlrf.core.errors import ModelUnreadableError, SampleError
from mlrf.core.feature import Feature, Kind

_KINDS = {"c": Kind.CATEGORICAL, "int": Kind.INTEGER, "i": Kind.BOOLEAN}


@dataclass(frozen=True, slots=True)
class _CutNames:
    """Category names that are not plain ASCII, of which the file lacks the end.

    XGBoost 3.1 and 3.2 count the characters of all names, and write as many bytes.
    """

    lengths: tuple[int, ...]
    """Of each name, in characters, or in bytes if the file is complete."""
    raw: bytes
    """The first bytes of the joined names."""

    def fits(self, names: Sequence[Any]) -> bool:
        """Return whether these names, in this order, can be those of the file."""
        if not all(isinstance(name, str) for name in names):
            return False
        encoded = [name.encode() for name in names]
        if tuple(map(len, encoded)) == self.lengths:
            return b"".join(encoded) == self.raw
        return tuple(map(len, names)) == self.lengths and b"".join(encoded).startswith(self.raw)

    def is_order_of(self, names: Sequence[Any]) -> bool:
        """Return whether these names fit in no other order: those that the bytes lack differ in length."""
        if not self.fits(names):
            return False
        ends = np.cumsum([len(name.encode()) for name in names])
        lacking = [len(name) for name, end in zip(names, ends.tolist(), strict=True) if end > len(self.raw)]
        return len(set(lacking)) == len(lacking)


def read_features(
    learner: Member, booster: Member, n_features: int, split_by_category: dict[int, int], categories: CategoryNames
) -> tuple[Feature, ...]:
    """Return the model's features in column order.

    `split_by_category` names the columns that a categorical node tests, with the greatest code in such a node.
    ModelUnreadableError if names and columns do not match; SampleError if a category list does not.
    """
    names = learner.texts("feature_names") or [f"f{index}" for index in range(n_features)]
    types = learner.texts("feature_types") or ["float"] * n_features
    if len(names) != n_features or len(types) != n_features:
        raise ModelUnreadableError(
            f"the XGBoost model file has {n_features} columns, names {len(names)} and types {len(types)} of them"
        )
    if not all(names) or len(set(names)) != len(names):
        raise ModelUnreadableError("the XGBoost model file has a feature without a name, or two with the same name")
    check_category_names(categories.lists, names)
    own = _own_lists(booster, n_features)
    return tuple(
        _feature(
            name,
            "c" if index in split_by_category else types[index],
            categories.lists.get(name),
            _whole(own.get(index), name, categories),
            split_by_category.get(index, -1),
        )
        for index, name in enumerate(names)
    )


def _whole(own: list[Any] | _CutNames | None, name: str, categories: CategoryNames) -> list[Any] | None:
    """Return a column's categories; names that the file lacks parts of are taken from a list or the sample that fits."""
    if not isinstance(own, _CutNames):
        return own
    given = categories.lists.get(name)
    if given is not None:
        if not own.fits(given):
            raise SampleError(
                f"feature {name!r}: the list given differs from the categories in the model file, as far as it contains them; "
                "list those of the training data in the order of their codes",
                feature=name,
            )
        return given
    sampled = categories.sampled(name)
    return sampled if sampled is not None and own.is_order_of(sampled) else None


def _feature(name: str, kind: str, given: Any, own: Any, greatest: int) -> Feature:
    if kind != "c":
        if given is not None:
            raise SampleError(
                f"feature {name!r}: the model was trained on it as a number, so it has no categories; leave its list out",
                feature=name,
            )
        return Feature(name, _KINDS.get(kind, Kind.NUMERIC))
    if given is not None and own is not None and list(given) != list(own):
        raise SampleError(
            f"feature {name!r}: the model file defines its categories, and the list given differs; leave it out",
            feature=name,
        )
    listed = given if given is not None else own
    if listed is None:
        return Feature(name, Kind.CATEGORICAL, example=0)
    if greatest >= len(listed):
        raise SampleError(
            f"feature {name!r}: the model splits by category code {greatest}, but only {len(listed)} categories are listed",
            feature=name,
        )
    try:
        return Feature(name, Kind.CATEGORICAL, tuple(listed), example=listed[0] if listed else None)
    except ValueError as error:
        raise SampleError(str(error), feature=name) from error


def _own_lists(booster: Member, n_features: int) -> dict[int, list[Any] | _CutNames]:
    """Return the categories of each column of the training frame that had any, in the order of their codes."""
    if "cats" not in booster:
        return {}
    found: dict[int, list[Any] | _CutNames] = {}
    encoded = booster.member("cats").items("enc")
    for index, column in enumerate(encoded if len(encoded) == n_features else []):
        listed = _decoded(column)
        if listed is not None:
            found[index] = listed
    return found


def _decoded(column: Any) -> list[Any] | _CutNames | None:
    """Return one column's categories, None if it has none: numbers unchanged, text as Arrow stores it (offsets into bytes)."""
    if not isinstance(column, dict):
        return None
    values = np.asarray(column.get("values", []))
    if "offsets" not in column:
        return list(values.tolist()) or None
    offsets = np.asarray(column["offsets"])
    if offsets.ndim != 1 or values.ndim != 1 or (values.size and values.dtype.kind not in "iu"):
        raise ModelUnreadableError("the XGBoost model file is damaged: its categories are not text")
    if not offsets.size:
        return None
    ascending = offsets[0] == 0 and offsets[-1] == len(values) and np.all(np.diff(offsets) >= 0)
    if not ascending:
        raise ModelUnreadableError("the XGBoost model file is damaged: its categories end early")
    raw = bytes((values.astype(np.int64) & 0xFF).astype(np.uint8))
    if not raw.isascii():
        return _CutNames(tuple(np.diff(offsets).tolist()), raw)
    return [raw[a:b].decode("ascii") for a, b in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)] or None

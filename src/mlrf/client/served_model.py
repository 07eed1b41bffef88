"""The description of a served model, from `GET /models`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from mlrf.client.tensors import Array
from mlrf.core.errors import ModelNotFoundError
from mlrf.core.feature import Feature, Kind
from mlrf.core.infinities import read_infinities
from mlrf.core.schema import Schema


class ServedModel(NamedTuple):
    """A model as the server describes it: enough to convert tables to the rows of this version."""

    name: str
    digest: str
    schema: Schema
    classes: list[Any] | None

    @property
    def n_outputs(self) -> int:
        """The margins of a row: one for each class of three or more, else one."""
        n_classes = len(self.classes or ())
        return n_classes if n_classes > 2 else 1  # noqa: PLR2004


def read_served_model(document: Mapping[str, Any], name: str | None) -> ServedModel:
    """Read a model from the document of `GET /models`, the default without a name; ModelNotFoundError if it is not served."""
    name = name or document["default"]
    found = [each for each in document["models"] if each["name"] == name]
    if not found:
        names = ", ".join(each["name"] for each in document["models"]) or "none"
        raise ModelNotFoundError(f"no model named {name!r} is served; the server has {names}", model=name)
    schema = Schema(tuple(_feature(each) for each in found[0]["features"]))
    return ServedModel(found[0]["name"], found[0]["digest"], schema, found[0]["classes"])


def class_names(served: ServedModel, values: Array) -> list[str]:
    """Return the names of the columns of an answer [n, K]; none for an answer [n]."""
    if values.ndim == 1:
        return []
    return [str(each) for each in served.classes or range(values.shape[1])]


def _feature(described: Mapping[str, Any]) -> Feature:
    categories = described.get("categories")
    return Feature(
        described["name"],
        Kind(described["kind"]),
        None if categories is None else tuple(categories),
        described["nullable"],
        optional="default" in described,
        default=described.get("default"),
        infinities=read_infinities(described.get("infinities")),
    )

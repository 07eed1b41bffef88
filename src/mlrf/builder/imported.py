"""What an importer hands to the rest of the build, whatever library the model came from."""

from __future__ import annotations

from dataclasses import dataclass

from mlrf.core.bundle import Task
from mlrf.core.forest import Forest
from mlrf.core.link import Link
from mlrf.core.schema import Category, Feature

ClassLabel = str | int | float | bool


@dataclass(frozen=True, slots=True)
class ImportedModel:
    """A model that was read: its trees, what its margins mean, and what its columns are.

    `source` is the model in the training library's own format: what the parity gate asks the library about.
    """

    forest: Forest
    task: Task
    objective: str
    """As the training library names it."""
    link: Link
    classes: tuple[ClassLabel, ...] | None
    features: tuple[Feature, ...]
    library: str
    """The distribution that can answer for `source`."""
    source: bytes


CategoryLists = dict[str, list[Category]]
"""Category lists by feature name, in the order of their codes."""

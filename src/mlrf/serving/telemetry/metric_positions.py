"""The position of each metric sample in a slot's row of the control block.

Every label has a bounded set of values, known before the fork: the layout follows from the tables of metrics, routes and
statuses and from the names of the served models, so the arbiter and all workers agree on it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain, product
from typing import Final

from mlrf.serving.error_status import codes, http_statuses
from mlrf.serving.telemetry.metrics import FAMILIES, FAMILY, NO_MODEL, Family


class Layout:
    """The position of each count of a slot.

    `routes`: by number, the labels `route` and `model` under which requests are counted; `models`: the names of served models.
    """

    __slots__ = ("_first", "_numbers", "codes", "models", "n_words", "pid", "routes", "statuses")

    def __init__(self, routes: tuple[tuple[str, str], ...], models: tuple[str, ...] = ()) -> None:
        self.routes: Final = routes
        self.models: Final = models
        self.statuses: Final = http_statuses()
        self.codes: Final = codes()
        self._numbers: Final = {each: number for number, each in enumerate(routes)}
        word = 0
        self._first: Final[dict[str, int]] = {}
        for family in FAMILIES:
            self._first[family.name] = word
            word += self.n_samples(family) * self.width(family)
        self.pid: Final = word
        """The word in which a worker stores its process id."""
        self.n_words: Final = word + 1
        """Words per slot."""

    def samples(self, family: Family) -> list[tuple[str, ...]]:
        """Return the values of the labels of each of a family's samples, in the order of their positions."""
        return [tuple(chain.from_iterable(each)) for each in product(*self._axes(family))]

    def is_shown(self, family: Family, values: tuple[str, ...], count: int) -> bool:
        """Return whether a sample is exposed."""
        return bool(count) or not family.sparse or values[-1] == self._axes(family)[-1][0][-1]

    def n_samples(self, family: Family) -> int:
        """Return the number of a family's samples."""
        return math.prod(map(len, self._axes(family)))

    def width(self, family: Family) -> int:
        """Return the number of words of a sample: one; for a histogram its buckets, and the sum in nanoseconds."""
        return len(family.buckets_s) + 2 if family.buckets_s else 1

    def word(self, name: str, *values: str) -> int:
        """Return the first word of the sample with these label values; ValueError if there is none."""
        first, n_words = self.words(name, *values)
        if n_words != self.width(FAMILY[name]):
            raise ValueError(f"{name} has more labels than {values}")
        return first

    def words(self, name: str, *values: str) -> tuple[int, int]:
        """Return the first word of the samples with these values of their first labels, and how many words they have."""
        family = FAMILY[name]
        index, n_left, left = 0, 1, list(values)
        for axis in self._axes(family):
            if left:
                n = len(axis[0])
                index = index * len(axis) + axis.index(tuple(left[:n]))
                del left[:n]
            else:
                index *= len(axis)
                n_left *= len(axis)
        if left:
            raise ValueError(f"{name} has no label for {left}")
        width = self.width(family)
        return self._first[name] + index * width, n_left * width

    def number(self, route: str, model: str = NO_MODEL) -> int:
        """Return the number under which the requests of a route are counted; KeyError for an unknown route."""
        return self._numbers[route, model]

    def first(self, family: Family) -> int:
        """Return the first word of a family."""
        return self._first[family.name]

    def ending(self) -> list[tuple[int, int]]:
        """Return the ranges of words that are reset when a slot's worker ends: first word, and the one after the last."""
        ending = [family for family in FAMILIES if not family.survives_restart]
        runs = [(self.first(f), self.first(f) + self.n_samples(f) * self.width(f)) for f in ending]
        return [*runs, (self.pid, self.pid + 1)]

    def _axes(self, family: Family) -> list[Sequence[tuple[str, ...]]]:
        """Return the values of the labels that vary independently; `route` and `model` of one family vary together."""
        models = [(model,) for model in self.models]
        axes: dict[str, Sequence[tuple[str, ...]]] = {
            "route": self.routes,
            "model": [(NO_MODEL,), *models] if family.without_model else models,
            "status": [(str(each),) for each in self.statuses],
            "code": [(each,) for each in self.codes],
        }
        names = [name for name, _ in family.labels]
        return [
            [(value,) for value in values] if values else axes[name]
            for name, values in family.labels
            if not (name == "model" and "route" in names)
        ]


def clear_gauges(layout: Layout, row: memoryview) -> None:
    """Reset the words that belong to a slot's ended worker: its connections, its readiness."""
    for first, stop in layout.ending():
        for word in range(first, stop):
            row[word] = 0

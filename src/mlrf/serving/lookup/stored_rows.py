"""Looks up stored rows by key and checks them; the error for a row that cannot be used says why.

A local store is read synchronously, a shared store is awaited; the checks afterwards are the same.
"""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache

import msgspec

from mlrf.core.errors import (
    FeaturesUnavailableError,
    InvalidStoredRowError,
    KeyNotFoundError,
    MissingFeatureError,
    RequestError,
    StaleFeaturesError,
)
from mlrf.core.value_text import clip, shown_name
from mlrf.features.as_of import show_as_of
from mlrf.features.interface import ExplanationStore, FeatureStore, LocalStore, StoredRow
from mlrf.features.row_format import RowFormat
from mlrf.features.shared_store import SharedStore
from mlrf.serving.lookup.by_key import ByKey, OnStale

_US = 1e-6
_MS = 1e3
_NO_KEY = b"\0"
"""An arbitrary key, to test whether a store answers."""
_SHOWN = 20
_NOT_LOCAL = "a shared store must be awaited"


class AgeLimit(msgspec.Struct, frozen=True):
    """The maximum age of a stored row and how to treat an older one; None for no maximum."""

    max_age_s: float | None = None
    on_stale: OnStale = "refuse"


class FoundRow(msgspec.Struct, gc=False):
    """A stored row that passed all checks."""

    row: Sequence[float]
    """Values in schema order, with overrides applied."""
    key: bytes
    stored: StoredRow
    is_overridden: bool
    is_stale: bool
    fresh_until_s: float
    """When it becomes too old for this request, in seconds of `time.time`; `inf` for never."""

    @property
    def as_of(self) -> bytes:
        """The as-of time of the row as JSON: RFC 3339 in UTC, or null if unknown."""
        return as_of_json(self.stored.as_of_us)


class LookupMeter:
    """Counts look-ups; `counter` returns a function that increments a metric."""

    def __init__(self, counter: Callable[[str], Callable[[int], None]]) -> None:
        self._looked_up = counter("mlrf_feature_lookups_total")
        self._missed = counter("mlrf_feature_misses_total")
        self._age_ms = counter("mlrf_feature_age_seconds_total")
        self._store_errors = counter("mlrf_feature_store_errors_total")
        self._precomputed = counter("mlrf_precomputed_explanations_total")

    def count_lookups(self, found: int, missed: int, age_s: float) -> None:
        """Count keys found and not found, and the sum of the ages of the rows found."""
        self._looked_up(found + missed)
        if missed:
            self._missed(missed)
        if age_s > 0.0:
            # An as-of time may be in the future, for example of a weather forecast.
            self._age_ms(int(age_s * _MS))

    def count_store_error(self) -> None:
        """Count a look-up that failed or returned an invalid row."""
        self._store_errors(1)

    def count_precomputed(self) -> None:
        """Count an explanation served from the precomputed ones."""
        self._precomputed(1)


class StoredRows:
    """The stored rows of one model. `explanations` holds precomputed contributions, if the bundle has any."""

    def __init__(
        self,
        rows: RowFormat,
        store: FeatureStore,
        limit: AgeLimit,
        meter: LookupMeter,
        explanations: ExplanationStore | None = None,
        *,
        are_logged: bool = False,
    ) -> None:
        """`are_logged`: answers carry the rows that they were made from, for the prediction log."""
        self.are_logged = are_logged
        self.format = rows
        self.store = store
        self._limit = limit
        self._meter = meter
        self._explanations = explanations
        self.local: LocalStore | None = store if isinstance(store, LocalStore) else None
        # The files of a replaced version are released after its last request.
        for each in (self.local, explanations):
            if each is not None:
                weakref.finalize(self, each.release)

    def read_one(self, request: ByKey) -> FoundRow:
        """Return one row from a local store; raises as `read` does."""
        if self.local is None:
            raise AssertionError(_NOT_LOCAL)
        try:
            stored = self.local.read(request.key)
        except FeaturesUnavailableError:
            self._meter.count_store_error()
            raise
        if stored is None:
            self._meter.count_lookups(0, 1, 0.0)
            raise self._not_found(request)
        now_s, time_us = time.time(), stored.as_of_us
        self._meter.count_lookups(1, 0, 0.0 if time_us is None else now_s - time_us * _US)
        return self._found_row(request, stored, now_s)

    def read(self, request: Sequence[ByKey], indices: Sequence[int] | None = None) -> list[FoundRow]:
        """Return the row of each key from a local store, all from one transaction.

        Raises KeyNotFoundError, MissingFeatureError or StaleFeaturesError for a row that cannot be used, with its index from
        `indices`, and FeaturesUnavailableError when the store does not answer.
        """
        if self.local is None:
            raise AssertionError(_NOT_LOCAL)
        try:
            return self._found_rows(request, self.local.read_many([each.key for each in request]), indices)
        except FeaturesUnavailableError:
            self._meter.count_store_error()
            raise

    async def fetch(self, request: Sequence[ByKey], indices: Sequence[int] | None = None) -> list[FoundRow]:
        """Return the row of each key from any store, all from one snapshot; raises as `read` does."""
        try:
            return self._found_rows(request, await self.store.fetch([each.key for each in request]), indices)
        except FeaturesUnavailableError:
            self._meter.count_store_error()
            raise

    def contributions(self, found: FoundRow) -> Sequence[float] | None:
        """Return the precomputed contributions [F x K] of exactly this row, or None."""
        if self._explanations is None or found.is_overridden:
            return None
        contributions = self._explanations.read(found.key, found.stored)
        if contributions is not None:
            self._meter.count_precomputed()
        return contributions

    async def connect(self, limit_s: float) -> None:
        """Connect to a shared store before the first request, within the time limit."""
        if isinstance(self.store, SharedStore):
            await self.store.connect(limit_s)

    async def check(self) -> None:
        """Test whether the store answers; raises FeaturesUnavailableError when it does not."""
        with suppress(InvalidStoredRowError):  # it is an answer nevertheless
            await self.store.fetch([_NO_KEY])

    def _found_rows(
        self, request: Sequence[ByKey], rows: Sequence[StoredRow | None], indices: Sequence[int] | None
    ) -> list[FoundRow]:
        now_s = time.time()
        found = []
        age_s = 0.0
        try:
            for each, stored in zip(request, rows, strict=True):
                if stored is None:
                    raise self._not_found(each)
                if stored.as_of_us is not None:
                    age_s += now_s - stored.as_of_us * _US
                found.append(self._found_row(each, stored, now_s))
        except RequestError as error:
            if indices is None:
                raise
            index = indices[len(found)]
            raise type(error)(f"instance {index}: {error}", index=index, **error.details) from error
        finally:
            missed = sum(stored is None for stored in rows)
            self._meter.count_lookups(len(rows) - missed, missed, age_s)
        return found

    def _found_row(self, request: ByKey, stored: StoredRow, now_s: float) -> FoundRow:
        overrides = request.overrides
        if stored.absent:
            self._check_absent(request, stored)
        is_stale, fresh_until_s = False, math.inf
        limit_s = self._limit.max_age_s
        if request.max_age_s is not None and (limit_s is None or request.max_age_s < limit_s):
            limit_s = request.max_age_s
        if limit_s is not None:
            fresh_until_s = -math.inf if stored.as_of_us is None else stored.as_of_us * _US + limit_s
            if now_s >= fresh_until_s:
                if (request.on_stale or self._limit.on_stale) == "refuse":
                    raise self._stale(request, stored, now_s, limit_s)
                # A row that is too old never becomes fresh again.
                is_stale, fresh_until_s = True, math.inf
        row: Sequence[float] = stored.values
        if overrides is not None:
            row = list(row)
            for index, value in overrides.items():
                row[index] = value
        return FoundRow(row, request.key, stored, overrides is not None, is_stale, fresh_until_s)

    def _check_absent(self, request: ByKey, stored: StoredRow) -> None:
        absent = [self.format.schema.names[i] for i in stored.absent if i not in (request.overrides or ())]
        if absent:
            raise MissingFeatureError(
                f"the stored row of this key lacks {', '.join(map(shown_name, absent[:_SHOWN]))}; push a complete row, or send "
                'the value in "overrides"',
                feature=absent[0],
                missing=absent[:_SHOWN],
                key=self.format.key.decode(request.key),
            )

    def _not_found(self, request: ByKey) -> KeyNotFoundError:
        key = self.format.key.decode(request.key)
        shown = clip(msgspec.json.encode(key).decode())
        return KeyNotFoundError(f"no row is stored under the key {shown}", key=key)

    def _stale(self, request: ByKey, stored: StoredRow, now_s: float, limit_s: float) -> StaleFeaturesError:
        key = self.format.key.decode(request.key)
        if stored.as_of_us is None:
            return StaleFeaturesError(
                f"the stored row of this key has no as-of time, and rows may be at most {limit_s:g} s old; push it with as_of",
                key=key,
                features_as_of=None,
                max_age_s=limit_s,
            )
        age_s = now_s - stored.as_of_us * _US
        return StaleFeaturesError(
            f"the stored row of this key is {age_s:.0f} s old, more than {limit_s:g} s; push a newer one, or request it with "
            '"stale_features": "flag"',
            key=key,
            features_as_of=show_as_of(stored.as_of_us),
            age_s=round(age_s, 3),
            max_age_s=limit_s,
        )


@lru_cache(maxsize=4096)
def as_of_json(as_of_us: int | None) -> bytes:
    """Return an as-of time as JSON; cached, since rows loaded together share one time."""
    return b"null" if as_of_us is None else b'"%b"' % show_as_of(as_of_us).encode()

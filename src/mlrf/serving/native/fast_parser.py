"""The fast parser: decodes request bodies into rows with msgspec decoders compiled from the schema.

It accepts only bodies that are certainly valid. All others are passed to the strict parser, which applies the schema's rules
one by one and either returns a request or raises a precise error. Tests check that both agree on what is valid.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from mlrf.core.column_rules import whole_columns
from mlrf.core.leniency import STRICT, Leniency
from mlrf.core.schema import Schema
from mlrf.core.value_rules import hashed_code
from mlrf.engines.interface import Row
from mlrf.features.entity_key import EntityKey
from mlrf.serving.lookup.by_key import ByKey
from mlrf.serving.native.fast_value_rules import OPTIONS, checking_utf8, named_struct, positional_type
from mlrf.serving.native.natural_decoder import REFUSED, NaturalDecoder, batch_options
from mlrf.serving.native.plain_batches import plain_batches
from mlrf.serving.native.requests import FEATURES, ParsedBatch, ParsedRequest, PlainBatch, in_batch
from mlrf.serving.runtime.results import imported_late
from mlrf.serving.runtime.slow_numbers import UNCOUNTED_BYTES, has_many_slow_numbers
from mlrf.serving.runtime.thresholds import DECODED_FEATURES, FAST_JSON_BYTES, NATURAL_FEATURES

if TYPE_CHECKING:
    from mlrf.serving.native.strict_parser import StrictParser

_NO_OPTIONS = (False, None, None, None)


def _is_fast(body: bytes) -> bool:
    """Whether one call decodes a body in a few milliseconds."""
    return len(body) <= FAST_JSON_BYTES and not has_many_slow_numbers(body)


class RowDecoder:
    """Decodes the bodies of `/predict` and `/predict/batch` for one schema, and for one entity key if rows are stored."""

    def __init__(
        self, schema: Schema, leniency: Leniency, max_instances: int, entity_key: EntityKey | None = None
    ) -> None:
        self._make_strict = partial(_strict_parser, schema, leniency, max_instances, entity_key)
        # Of a wide schema, it takes too long to make it on the event loop.
        self._strict = self._make_strict() if len(schema.features) > DECODED_FEATURES else None
        self._entity_key = entity_key
        self._codes: dict[int, Mapping[Any, float]] = {
            index: codes_by_value(schema, index)
            for index, feature in enumerate(schema.features)
            if feature.categories is not None
        }
        self._coded = list(self._codes.items())
        # Whole numbers are decoded as float64 and checked in the kernel, which is faster than decoding integers.
        self._whole_of_names = whole_columns(schema.features, by_code=False)
        self._whole_of_array = whole_columns(schema.features, by_code=True)
        one, many = _compiled(schema, leniency, max_instances, entity_key)
        self._decode_one: Callable[[bytes], Any] | None = one
        self._decode_many: Callable[[bytes], Any] | None = many
        self._plain = None if many is None else plain_batches(schema, max_instances)
        self._make_natural = partial(NaturalDecoder, schema, leniency, max_instances, self._codes)
        self._natural: NaturalDecoder | None = None
        has_other_forms = leniency.natural or any(feature.optional for feature in schema.features)
        self.is_incomplete = has_other_forms and one is not None and len(schema.features) <= NATURAL_FEATURES
        """Whether the decoders of natural bodies are not compiled yet; `strict_row` and `strict_rows` compile them."""

    def row(self, body: bytes) -> ParsedRequest:
        """Return the request in a `/predict` body; raises RequestError for an invalid one."""
        return self.fast_row(body) or self.strict_row(body)

    def rows(self, body: bytes) -> list[ParsedRequest]:
        """Return the requests in a `/predict/batch` body; raises RequestError, which names the invalid instance."""
        return self.fast_rows(body) or self.strict_rows(body)

    def strict_row(self, body: bytes) -> ParsedRequest:
        """Return the request as `row` does, with the strict parser only."""
        if self.is_incomplete:
            self.complete()
        return self._strict_parser().row(body)

    def strict_rows(self, body: bytes) -> list[ParsedRequest]:
        """Return the requests as `rows` does, with the strict parser, which still decodes single instances fast."""
        if self.is_incomplete:
            self.complete()
        return self._strict_parser().rows(body, self.fast_row)

    def _strict_parser(self) -> StrictParser:
        """Return the strict parser, which many servers never need; OverloadedError as of `imported_late`."""
        if self._strict is None:
            self._strict = imported_late(self._make_strict)
        return self._strict

    def fast_row(self, body: bytes) -> ParsedRequest | None:
        """Return the request in a `/predict` body, in at most a few milliseconds; None if the strict parser must decide."""
        if self._decode_one is not None and (len(body) <= UNCOUNTED_BYTES or _is_fast(body)):
            try:
                parsed = self._decode_one(body)
                return self._row_of(parsed), parsed.explain, FEATURES if parsed.return_features else None
            except REFUSED:
                return None if self._natural is None else self._natural.row(body, self._row_of)
        return None

    def fast_rows(self, body: bytes) -> list[ParsedRequest] | None:
        """Return the requests in a `/predict/batch` body, in a few milliseconds; None if the strict parser must decide."""
        if self._decode_many is not None and (len(body) <= UNCOUNTED_BYTES or _is_fast(body)):
            try:
                batch = self._decode_many(body)
                parsed = [
                    (self._row_of(each), each.explain, FEATURES if each.return_features else None)
                    for each in batch.instances
                ]
            except REFUSED:
                return None if self._natural is None else self._natural.rows(body, self._row_of)
            options = batch_options(batch)
            return parsed if options == _NO_OPTIONS else [in_batch(each, *options) for each in parsed]
        return None

    def fast_batch(self, body: bytes) -> ParsedBatch | None:
        """Return a plain batch, or else what `fast_rows` returns."""
        return self.plain_batch(body) or self.fast_rows(body)

    def plain_batch(self, body: bytes) -> PlainBatch | None:
        """Return the rows of a `/predict/batch` body without keys, or options but `explain`; None if `rows` must read it."""
        if self._plain is None or len(body) > FAST_JSON_BYTES:
            return None
        read = self._plain.read(body)
        return None if read is None else PlainBatch(*read)

    def complete(self) -> None:
        """Compile the decoders of natural bodies; takes about 0.1 ms a feature, so call it off the event loop."""
        if self.is_incomplete:
            self._natural = self._make_natural()
            self.is_incomplete = False

    def _row_of(self, parsed: Any) -> Row | ByKey:
        """Return the row or the key of a decoded instance; raises KeyError if the strict parser must decide."""
        features = parsed.features
        if features is UNSET:
            return self._key_of(parsed)
        if self._entity_key is not None and (parsed.key is not UNSET or parsed.overrides is not UNSET):
            raise KeyError
        if type(features) is tuple:
            if self._whole_of_array is not None and not self._whole_of_array.admit(features):
                raise KeyError
            return features
        values: tuple[Any, ...] = msgspec.structs.astuple(features)
        if self._whole_of_names is not None and not self._whole_of_names.admit(values):
            raise KeyError
        if not self._codes:
            return values
        row = list(values)
        for index, codes in self._coded:
            row[index] = codes[row[index]]
        return row

    def _key_of(self, parsed: Any) -> ByKey:
        if self._entity_key is None or parsed.key is UNSET:
            raise KeyError
        return ByKey(
            self._entity_key.encode(parsed.key),
            None if parsed.overrides is UNSET else self._overrides_of(parsed.overrides),
            None if parsed.max_feature_age is UNSET else parsed.max_feature_age,
            None if parsed.stale_features is UNSET else parsed.stale_features,
        )

    def _overrides_of(self, overrides: Any) -> dict[int, float] | None:
        values = [None if value is UNSET else value for value in msgspec.structs.astuple(overrides)]
        if self._whole_of_names is not None and not self._whole_of_names.admit(values):
            raise KeyError
        given = {index: v for index, v in enumerate(msgspec.structs.astuple(overrides)) if v is not UNSET}
        for index, value in given.items():
            codes = self._codes.get(index)
            given[index] = (math.nan if value is None else float(value)) if codes is None else codes[value]
        return given or None


class _HashedCodes(dict[Any, float]):
    """Category codes by value; an unlisted string has the code of its hash, if the model uses that hash."""

    def __init__(self, schema: Schema, index: int) -> None:
        super().__init__()
        self._feature, self._by_hash = schema.features[index], schema.codes_by_hash

    def __missing__(self, value: Any) -> float:
        if not isinstance(value, str):
            raise KeyError(value)
        code = hashed_code(self._feature, self._by_hash, value, STRICT)
        if code is None:
            raise KeyError(value)
        return code


def codes_by_value(schema: Schema, index: int) -> Mapping[Any, float]:
    """Return the codes of a feature's categories by their values in JSON, and NaN for null; unknown values raise KeyError."""
    feature = schema.features[index]
    codes: dict[Any, float] = {} if feature.hashing is None else _HashedCodes(schema, index)
    codes |= {category: float(code) for code, category in enumerate(feature.categories or ())}
    codes[None] = math.nan
    return codes


def _strict_parser(
    schema: Schema, leniency: Leniency, max_instances: int, entity_key: EntityKey | None
) -> StrictParser:
    from mlrf.serving.native.strict_parser import StrictParser  # noqa: PLC0415  as of `imported_late`

    return StrictParser(schema, leniency, max_instances, entity_key)


def _compiled(
    schema: Schema, leniency: Leniency, max_instances: int, entity_key: EntityKey | None
) -> tuple[Callable[[bytes], Any] | None, Callable[[bytes], Any] | None]:
    """Return the decoders of one body and of a batch; None for each if only the strict parser can read the schema."""
    named = named_struct("NamedFeatures", schema, leniency)
    if named is None:
        return None, None
    positional = tuple.__class_getitem__(tuple(positional_type(f, leniency) for f in schema.features))
    by_key: list[tuple[str, Any, Any]] = []
    if entity_key is not None:
        overrides = named_struct("Overrides", schema, leniency, absent="any")
        # Both parsers leave the values of key fields to EntityKey.
        by_key = [
            ("key", dict[str, str | int | float | bool] | UnsetType, UNSET),
            ("overrides", overrides | UnsetType, UNSET),
        ]
    body = msgspec.defstruct(
        "PredictBody",
        [("features", named | positional | UnsetType, UNSET), *by_key, *OPTIONS],
        forbid_unknown_fields=True,
        gc=False,
    )
    # A batch over the limit fails here early; the strict parser then raises the error without decoding it.
    instances = Annotated[list[body], msgspec.Meta(min_length=1, max_length=max_instances)]  # type: ignore[valid-type]
    batch = msgspec.defstruct(
        "BatchBody",
        [("instances", instances), *OPTIONS],
        forbid_unknown_fields=True,
        gc=False,
    )
    one, many = msgspec.json.Decoder(body).decode, msgspec.json.Decoder(batch).decode
    if leniency.unknown_features == "ignore":
        return checking_utf8(one), checking_utf8(many)
    return one, many

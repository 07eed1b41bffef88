"""Fast decoders of the natural forms of bodies: what the decoders of canonical bodies refuse is tried here next.

As those, they accept only what is certainly valid, and leave the rest to the strict parser. A canonical body pays nothing for
them; a natural one pays the exception that the first decoder raised, about a microsecond.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from operator import itemgetter
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from mlrf.core.errors import InvalidKeyError
from mlrf.core.feature import Feature, has_ambiguous_codes
from mlrf.core.leniency import Leniency
from mlrf.core.reserved_names import reserved_among
from mlrf.core.schema import Schema
from mlrf.engines.interface import Row
from mlrf.serving.lookup.by_key import ByKey
from mlrf.serving.native.decoder_types import OPTIONS, named_struct, named_type, positional_type
from mlrf.serving.native.requests import ParsedRequest, in_batch

REFUSED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, KeyError, InvalidKeyError)
"""What a decoder raises where the strict parser must decide."""
_MAX_ORDERS = 8
"""Orders of columns whose decoders are kept: a client sends its columns in one order."""
Decode = Callable[[bytes], Any]
RowOf = Callable[[Any], Row | ByKey]


class _Row(msgspec.Struct, gc=False):
    """A row without a body around it, with the members of an instance that are read."""

    features: Any
    key: UnsetType = UNSET
    overrides: UnsetType = UNSET


class NaturalDecoder:
    """Decodes natural bodies of one schema.

    `row_of` makes a row of an instance with decoded `features`: by name, a struct, or in schema order, a tuple of numbers.
    """

    def __init__(
        self, schema: Schema, leniency: Leniency, max_instances: int, codes: Mapping[int, Mapping[Any, float]]
    ) -> None:
        """`codes`: by index, the code of each category of a feature with a list."""
        self._codes = list(codes.items())
        self._split = SplitDecoder(schema, leniency, max_instances)
        bare = _array([_unnamed_type(feature, leniency) for feature in schema.features])
        named = named_struct("BareFeatures", schema, replace(leniency, unknown_features="refuse"))
        if named is not None and not reserved_among(schema.names):
            bare = named | bare
        instances = Annotated[list[bare], msgspec.Meta(min_length=1, max_length=max_instances)]  # type: ignore[valid-type]
        one: list[Any] = [bare]
        many: list[Any] = [_struct("BareBatch", [("instances", instances), *OPTIONS]) | instances]
        if any(_has_names(feature) for feature in schema.features):
            array = _array([_named_or_coded_type(feature, leniency) for feature in schema.features])
            body = _struct("NamingBody", [("features", array), *OPTIONS])
            bodies = Annotated[list[body], msgspec.Meta(min_length=1, max_length=max_instances)]  # type: ignore[valid-type]
            one.append(body)
            many.append(_struct("NamingBatch", [("instances", bodies), *OPTIONS]))
        self._one: list[Decode] = [msgspec.json.Decoder(each).decode for each in one]
        self._many: list[Decode] = [msgspec.json.Decoder(each).decode for each in many]

    def row(self, body: bytes, row_of: RowOf) -> ParsedRequest | None:
        """Return the request in a `/predict` body; None where the strict parser must decide."""
        for decode in self._one:
            try:
                return self._request(decode(body), row_of)
            except REFUSED:
                continue
        return None

    def rows(self, body: bytes, row_of: RowOf) -> list[ParsedRequest] | None:
        """Return the requests in a `/predict/batch` body; None where the strict parser must decide."""
        for decode in (self._split.decode, *self._many):
            try:
                batch = decode(body)
                if type(batch) is list:
                    return [self._request(each, row_of) for each in batch]
                parsed = [self._request(each, row_of) for each in batch.instances]
            except REFUSED:
                continue
            return [in_batch(each, *batch_options(batch)) for each in parsed]
        return None

    def _request(self, instance: Any, row_of: RowOf) -> ParsedRequest:
        if hasattr(instance, "explain"):
            return row_of(_Row(self._coded(instance.features))), instance.explain, instance.return_features
        return row_of(_Row(self._coded(instance))), False, False

    def _coded(self, features: Any) -> Any:
        """Return a row with codes in place of names, where it is an array; KeyError for a name that is no category."""
        if type(features) is not tuple:
            return features
        row = list(features)
        for index, codes in self._codes:
            if type(row[index]) is str:
                row[index] = codes[row[index]]
        return tuple(row)


class SplitDecoder:
    """Decodes `{"columns": […], "data": [[…]]}`, for each order of columns with a decoder of its own."""

    def __init__(self, schema: Schema, leniency: Leniency, max_instances: int) -> None:
        self._names = schema.names
        self._known = frozenset(schema.names)
        self._types = {feature.name: named_type(feature, leniency) for feature in schema.features}
        self._named = named_struct("SplitFeatures", schema, leniency)
        self._max_instances = max_instances
        members = [("columns", list[str]), ("data", msgspec.Raw), ("index", list[Any] | UnsetType, UNSET), *OPTIONS]
        self._envelope: Decode = msgspec.json.Decoder(_struct("SplitBody", members)).decode
        self._by_order: dict[tuple[str, ...], tuple[Decode, Callable[[Any], Any]]] = {}

    def decode(self, body: bytes) -> Any:
        """Return a batch whose instances are structs by name; KeyError or MsgspecError where the strict parser must decide."""
        split = self._envelope(body)
        order = tuple(split.columns)
        if self._named is None or len(order) != len(self._names) or self._known != set(order):
            raise KeyError
        known = self._by_order.get(order)
        if known is None:
            known = self._by_order[order] = self._decoder_of(order)
            if len(self._by_order) > _MAX_ORDERS:
                del self._by_order[next(iter(self._by_order))]
        decode, in_order = known
        split.data = [self._named(*in_order(values)) for values in decode(split.data)]
        return _Batch(split)

    def _decoder_of(self, order: tuple[str, ...]) -> tuple[Decode, Callable[[Any], Any]]:
        row = _array([self._types[name] for name in order])
        rows = Annotated[list[row], msgspec.Meta(min_length=1, max_length=self._max_instances)]  # type: ignore[valid-type]
        places = {name: index for index, name in enumerate(order)}
        in_order: Callable[[Any], Any] = (
            itemgetter(*(places[name] for name in self._names)) if len(order) > 1 else tuple
        )
        return msgspec.json.Decoder(rows).decode, in_order


class _Batch:
    """A split body as a batch."""

    def __init__(self, split: Any) -> None:
        self.instances = split.data
        self.explain, self.return_features = split.explain, split.return_features
        self.max_feature_age, self.stale_features = split.max_feature_age, split.stale_features


def batch_options(batch: Any) -> tuple[Any, Any, Any, Any]:
    """Return the options of a decoded batch, as `in_batch` takes them."""
    return (
        batch.explain,
        batch.return_features,
        None if batch.max_feature_age is UNSET else batch.max_feature_age,
        None if batch.stale_features is UNSET else batch.stale_features,
    )


def _struct(name: str, fields: list[Any]) -> Any:
    return msgspec.defstruct(name, fields, forbid_unknown_fields=True, gc=False)


def _array(types: list[Any]) -> Any:
    return tuple.__class_getitem__(tuple(types))


def _has_names(feature: Feature) -> bool:
    return any(isinstance(category, str) for category in feature.categories or ())


def _named_or_coded_type(feature: Feature, leniency: Leniency) -> Any:
    """Return the type of a value of `{"features": […]}`: numbers are codes, strings are names."""
    kind = positional_type(feature, leniency)
    return kind | str if _has_names(feature) else kind


def _unnamed_type(feature: Feature, leniency: Leniency) -> Any:
    """Return the type of a value of a bare array: of a number that could be a category or its code, the strict parser tells."""
    if not has_ambiguous_codes(feature):
        return _named_or_coded_type(feature, leniency)
    return str | None if feature.nullable else str

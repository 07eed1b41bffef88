"""Fast decoders of natural bodies, and of rows that leave optional features out.

They are tried on bodies that the decoders of canonical bodies refuse. Like those, they accept only what is certainly valid and
leave the rest to the strict parser. Canonical bodies take no longer because of them; a natural one takes about a microsecond
more, for the exception of the first decoder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from mlrf.core.errors import InvalidKeyError
from mlrf.core.feature import Feature, Value, has_ambiguous_codes
from mlrf.core.leniency import Leniency
from mlrf.core.reserved_names import reserved_among
from mlrf.core.schema import Schema
from mlrf.engines.interface import Row
from mlrf.serving.lookup.by_key import ByKey
from mlrf.serving.native.fast_value_rules import OPTIONS, checking_utf8, named_struct, named_type, positional_type
from mlrf.serving.native.requests import FEATURES, ParsedRequest, in_batch, with_defaults

REFUSED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, KeyError, InvalidKeyError)
"""What a decoder raises if the strict parser must decide."""
_MAX_ORDERS = 8
"""Most orders of columns whose decoders are kept; a client usually sends its columns in one order."""
Decode = Callable[[bytes], Any]
RowOf = Callable[[Any], Row | ByKey]


class _Row(msgspec.Struct, gc=False):
    """A bare row, with the attributes of a decoded instance that are read."""

    features: Any
    key: UnsetType = UNSET
    overrides: UnsetType = UNSET


class NaturalDecoder:
    """Decodes natural bodies of one schema.

    `row_of` returns the row of an instance whose `features` are decoded: a struct (by name) or a tuple of numbers (schema
    order).
    """

    def __init__(
        self, schema: Schema, leniency: Leniency, max_instances: int, codes: Mapping[int, Mapping[Any, float]]
    ) -> None:
        """`codes`: by index, the code of each category of a feature with a list."""
        self._codes = list(codes.items())
        self._defaults = _Defaults(schema, leniency) if any(f.optional for f in schema.features) else None
        self._ignores_names = leniency.unknown_features == "ignore"
        self._one: list[Decode] = []
        self._many: list[Decode] = []
        if leniency.natural:
            bare = _bare_type(schema, leniency)
            instances = _up_to(max_instances, bare)
            self._many.append(SplitDecoder(schema, leniency, max_instances).decode)
            self._add(bare, _struct("BareBatch", [("instances", instances), *OPTIONS]) | instances)
        features = None if self._defaults is None else self._defaults.type
        if leniency.natural and any(_has_names(feature) for feature in schema.features):
            array = _array([_named_or_coded_type(feature, leniency) for feature in schema.features])
            features = array if features is None else features | array
        if features is not None:
            body = _struct("OtherBody", [("features", features), *OPTIONS])
            self._add(body, _struct("OtherBatch", [("instances", _up_to(max_instances, body)), *OPTIONS]))

    def _add(self, one: Any, many: Any) -> None:
        for kind, decoders in ((one, self._one), (many, self._many)):
            decode: Decode = msgspec.json.Decoder(kind).decode
            decoders.append(checking_utf8(decode) if self._ignores_names else decode)

    def row(self, body: bytes, row_of: RowOf) -> ParsedRequest | None:
        """Return the request in a `/predict` body; None if the strict parser must decide."""
        for decode in self._one:
            try:
                return self._request(decode(body), row_of)
            except REFUSED:
                continue
        return None

    def rows(self, body: bytes, row_of: RowOf) -> list[ParsedRequest] | None:
        """Return the requests in a `/predict/batch` body; None if the strict parser must decide."""
        for decode in self._many:
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
        is_body = hasattr(instance, "explain")
        features = self._coded(instance.features if is_body else instance)
        details = FEATURES if is_body and instance.return_features else None
        if self._defaults is not None:
            features, used = self._defaults.fill(features)
            details = with_defaults(details, used)
        return row_of(_Row(features)), instance.explain if is_body else False, details

    def _coded(self, features: Any) -> Any:
        """Return a row with names replaced by codes if it is an array; KeyError for a name that is not a category."""
        if type(features) is not tuple:
            return features
        row = list(features)
        for index, codes in self._codes:
            if type(row[index]) is str:
                row[index] = codes[row[index]]
        return tuple(row)


class _Defaults:
    """Fills in the defaults of optional features that a row by name leaves out."""

    def __init__(self, schema: Schema, leniency: Leniency) -> None:
        self.type = named_struct("OptionalFeatures", schema, leniency, absent="optional")
        self._whole = named_struct("AllFeatures", schema, leniency)
        self._defaults = [(feature.name, feature.default) for feature in schema.features]

    def fill(self, features: Any) -> tuple[Any, dict[str, Value]]:
        """Return a decoded row with every feature, and the defaults that were filled in, by name."""
        if type(features) is tuple:
            return features, {}
        values = msgspec.structs.astuple(features)
        if UNSET not in values:
            return features, {}
        used = {name: default for (name, default), value in zip(self._defaults, values, strict=True) if value is UNSET}
        given = zip(values, self._defaults, strict=True)
        return self._whole(*(default if value is UNSET else value for value, (_, default) in given)), used


class SplitDecoder:
    """Decodes `{"columns": […], "data": [[…]]}` with a decoder for each order of columns."""

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
        """Return a batch whose instances are structs by name; KeyError or MsgspecError if the strict parser must decide."""
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
        positions = {name: index for index, name in enumerate(order)}
        in_order: Callable[[Any], Any] = (
            itemgetter(*(positions[name] for name in self._names)) if len(order) > 1 else tuple
        )
        return msgspec.json.Decoder(_up_to(self._max_instances, row)).decode, in_order


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
        FEATURES if batch.return_features else None,
        None if batch.max_feature_age is UNSET else batch.max_feature_age,
        None if batch.stale_features is UNSET else batch.stale_features,
    )


def _up_to(most: int, kind: Any) -> Any:
    return Annotated[list[kind], msgspec.Meta(min_length=1, max_length=most)]


def _bare_type(schema: Schema, leniency: Leniency) -> Any:
    """Return the type of a bare row."""
    array = _array([_unnamed_type(feature, leniency) for feature in schema.features])
    named = named_struct(
        "BareFeatures", schema, msgspec.structs.replace(leniency, unknown_features="refuse"), absent="optional"
    )
    return array if named is None or reserved_among(schema.names) else named | array


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
    """Return the type of a value of a bare array; numbers that may be a category or a code are left to the strict parser."""
    if not has_ambiguous_codes(feature):
        return _named_or_coded_type(feature, leniency)
    return str | None if feature.nullable else str

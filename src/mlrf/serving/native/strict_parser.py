"""The strict parser: reads requests value by value by the schema's rules, so that errors name field, value and remedy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from mlrf.core.errors import (
    BatchTooLargeError,
    EmptyBatchError,
    FeatureCountError,
    InvalidKeyError,
    InvalidRequestError,
    NotKeyedError,
)
from mlrf.core.feature import Value
from mlrf.core.leniency import Leniency
from mlrf.core.schema import Schema
from mlrf.core.value_text import clip, shown_name
from mlrf.engines.interface import Row
from mlrf.features.entity_key import EntityKey
from mlrf.serving.lookup.by_key import ByKey
from mlrf.serving.native import json_scanner
from mlrf.serving.native.json_scanner import begins_with, feature_value, key_value, members_of, value_of
from mlrf.serving.native.natural_bodies import Members, NaturalBodies, check_members
from mlrf.serving.native.request_options import BASE_MARGIN_NAMES, OPTION_NAMES, read_options
from mlrf.serving.native.requests import ParsedRequest, in_batch, with_defaults

_UNLISTED_COMMAS = 32
"""Most commas in an unlisted (hashed) category."""
_ONE = ("features", "key", "overrides", *OPTION_NAMES, *BASE_MARGIN_NAMES)
_MANY = ("instances", *OPTION_NAMES)
_MANY_CONTRACT = 'a batch is {"instances": [{"features": …}, …]}'
_ONE_CONTRACT = 'a request is {"features": {name: value, …}}, {"features": [value, …]} or {"key": {field: value, …}}'


class StrictParser:
    """Parses the bodies of one schema; `entity_key` is None if no rows are stored."""

    __slots__ = ("_natural", "entity_key", "leniency", "max_instances", "max_values", "schema")

    def __init__(
        self, schema: Schema, leniency: Leniency, max_instances: int, entity_key: EntityKey | None = None
    ) -> None:
        self.schema: Final = schema
        self.leniency: Final = leniency
        self.max_instances: Final = max_instances
        self.entity_key: Final = entity_key
        self.max_values: Final = json_scanner.most_values(len(schema.names)) + _commas_within(schema)
        """Most values in an instance, counted by commas, with an allowance for commas inside strings."""
        self._natural: Final = NaturalBodies(schema, max_instances) if leniency.natural else None
        """Reads natural forms; None if bodies must be in canonical form."""

    def row(self, body: bytes) -> ParsedRequest:
        """Return the request in a `/predict` body; raises RequestError for an invalid one."""
        return self._instance_request(json_scanner.whole_document(body, self.schema.names), "the body", self.leniency)

    def rows(
        self, body: bytes, read_fast: Callable[[bytes], ParsedRequest | None] = lambda _: None
    ) -> list[ParsedRequest]:
        """Return the requests in a `/predict/batch` body; raises RequestError, which names the invalid instance.

        `read_fast` returns the request of an instance, or None if this parser must decide.
        """
        members, instances = self._envelope(json_scanner.whole_document(body, self.schema.names))
        options = read_options(members, self.leniency)
        parsed = []
        for index, instance in enumerate(self._checked(instances)):
            try:
                known = read_fast(bytes(instance)) if options.leniency == self.leniency else None
                known = known or self._instance_request(instance, "an instance", options.leniency)
                parsed.append(in_batch(known, options.explain, options.details, options.max_age_s, options.on_stale))
            except InvalidRequestError as error:
                details = {"index": index, **error.details}
                raise type(error)(f"instance {index}: {error}", **details) from error
        return parsed

    def _envelope(self, raw: msgspec.Raw) -> tuple[Members, list[msgspec.Raw]]:
        """Return the members of a batch and its instances."""
        values = json_scanner.values_at_most(raw)
        if values > self.max_instances * self.max_values:
            raise BatchTooLargeError(
                f"the batch contains about {values} values, more than {self.max_instances} instances of "
                f"{len(self.schema.names)} features can have; send it in parts, or raise --max-batch",
                values=values,
                max_instances=self.max_instances,
            )
        members, instances = (members_of(raw, "the body"), None) if self._natural is None else self._natural.batch(raw)
        for name in members:
            if name in BASE_MARGIN_NAMES:
                raise InvalidRequestError(
                    f'"{name}" belongs to a row: send {{"instances": [{{"features": …, "{name}": …}}, …]}}', field=name
                )
            if name not in _MANY:
                is_row = name in ("features", "key") or members.keys() <= set(self.schema.names)
                raise InvalidRequestError(
                    f"unknown member {shown_name(name)} in the request body: {_MANY_CONTRACT}"
                    + ("; a single row goes to /predict" if is_row else ""),
                    field=clip(name),
                )
        return members, self._instances(members) if instances is None else instances

    def _instances(self, members: Members) -> list[msgspec.Raw]:
        if "instances" not in members:
            raise InvalidRequestError(
                'the body has no "instances"; send {"instances": [{"features": …}, …]}, and a single row to /predict',
                field="instances",
            )
        if not begins_with(members["instances"], b"["):
            raise InvalidRequestError(
                "instances must be an array of /predict bodies", field="instances", expected="array"
            )
        if json_scanner.has_more_items(members["instances"], self.max_instances, len(self.schema.names)):
            raise self._too_many(f"{self.max_instances + 1} or more", self.max_instances + 1)
        return json_scanner.items_of(members["instances"])

    def _checked(self, instances: list[msgspec.Raw]) -> list[msgspec.Raw]:
        """Return the instances of a batch; EmptyBatchError if there are none, BatchTooLargeError if too many."""
        if not instances:
            raise EmptyBatchError("the batch contains no instances; send at least one", instances=0)
        if len(instances) > self.max_instances:
            raise self._too_many(str(len(instances)), len(instances))
        return instances

    def _too_many(self, shown: str, count: int) -> BatchTooLargeError:
        return BatchTooLargeError(
            f"the batch contains {shown} instances, more than {self.max_instances}; send it in parts, or raise --max-batch",
            instances=count,
            max_instances=self.max_instances,
        )

    def _instance_request(self, instance: msgspec.Raw, what: str, leniency: Leniency) -> ParsedRequest:
        values = json_scanner.values_at_most(instance)
        if values > self.max_values:
            n = len(self.schema.names)
            raise FeatureCountError(
                f"expected {n} features, got about {values} values; GET /models lists the features",
                expected=n,
                got=values,
            )
        members = members_of(instance, what) if self._natural is None else self._natural.instance(instance, what)
        check_members(self.schema, members, _ONE, _ONE_CONTRACT)
        options = read_options(members, leniency)
        if "key" not in members:
            row, defaults = self._row(members, options.leniency)
            return row, options.explain, with_defaults(options.details, defaults)
        if "features" in members:
            raise InvalidRequestError(
                'the body has both "features" and "key"; send "overrides" to replace stored values',
                field="features",
            )
        overrides = self._overrides(members["overrides"], options.leniency) if "overrides" in members else None
        parsed = ByKey(self._key(members["key"]), overrides or None, options.max_age_s, options.on_stale)
        return parsed, options.explain, options.details

    def _row(self, members: Mapping[str, msgspec.Raw], leniency: Leniency) -> tuple[Row, dict[str, Value]]:
        """Return the row, and by name the defaults that were used for features that the body leaves out."""
        schema = self.schema
        if "overrides" in members:
            raise InvalidRequestError('"overrides" replace stored values; send a "key" too', field="overrides")
        if "features" not in members:
            raise InvalidRequestError(f'the body has no "features" and no "key": {_ONE_CONTRACT}', field="features")
        features = members["features"]
        if begins_with(features, b"{"):
            named = self._known_features(members_of(features, "features"), leniency)
            known = set(schema.names)
            values = {n: feature_value(v, n) if n in known else None for n, v in named.items()}
            return schema.row_by_name(values, leniency), schema.defaults_for(values)
        if begins_with(features, b"["):
            items = json_scanner.items_of(features)
            if items and (begins_with(items[0], b"[") or begins_with(items[0], b"{")):
                raise InvalidRequestError(
                    "features is an array of rows; one row is an array of values or an object by name, and several rows go to "
                    "/predict/batch",
                    field="features",
                )
            if len(items) != len(schema.names):
                # The wrong number of values is refused before any of them is read.
                return schema.row_by_position(items, leniency), {}
            in_order = [feature_value(v, n) for n, v in zip(schema.names, items, strict=True)]
            return schema.row_by_position(in_order, leniency), {}
        return schema.row(value_of(features, "features"), leniency), {}

    def _known_features(self, named: dict[str, msgspec.Raw], leniency: Leniency) -> dict[str, msgspec.Raw]:
        if leniency.unknown_features != "ignore":
            return named
        known = set(self.schema.names)
        return {name: value for name, value in named.items() if name in known}

    def _key(self, raw: msgspec.Raw) -> bytes:
        if self.entity_key is None:
            raise NotKeyedError(
                'this model is served without rows by key; send "features", or build the bundle with --features and --key'
            )
        if not begins_with(raw, b"{"):
            raise InvalidKeyError(
                f"key must be an object of {self.entity_key.contract()}, not {json_scanner.type_of(raw)}",
                expected="object",
            )
        return self.entity_key.encode({name: key_value(value, name) for name, value in members_of(raw, "key").items()})

    def _overrides(self, raw: msgspec.Raw, leniency: Leniency) -> dict[int, float]:
        named = self._known_features(members_of(raw, "overrides"), leniency)
        indices = {name: index for index, name in enumerate(self.schema.names)}
        if any(name not in indices for name in named):
            raise self.schema.unknown_features(named)
        return {
            indices[name]: self.schema.number(indices[name], feature_value(value, name), leniency)
            for name, value in named.items()
        }


def _commas_within(schema: Schema) -> int:
    """Return the most commas inside names and categories of a valid instance; they do not separate values."""
    within = 0
    for feature in schema.features:
        listed = max((str(c).count(",") for c in feature.categories or ()), default=0)
        within += feature.name.count(",") + max(listed, 0 if feature.hashing is None else _UNLISTED_COMMAS)
    return within

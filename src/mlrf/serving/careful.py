"""From the bytes of a request to rows, slowly, by the schema's own rules: every refusal names field, value and remedy.

The envelope is decoded first and each feature's value by itself, so that a number out of range is blamed on its feature.
A decoder is one C call that holds the GIL to its end, in whichever thread: what it would make objects of is counted first,
by the commas, which one pass over the bytes counts for a thousandth of the price.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from mlrf.core.errors import (
    BatchTooLargeError,
    EmptyBatchError,
    FeatureCountError,
    InvalidFeatureError,
    InvalidRequestError,
    MalformedRequestError,
)
from mlrf.core.schema import Leniency, Schema, clip, json_type, shown, shown_name
from mlrf.engines.port import Row

_BYTE = re.compile(r"\(byte (\d+)\)")
_NAME = re.compile(rb'"([^"\\\\]*)"[ \t\r\n]*:')
_LONE_SURROGATE = re.compile(rb"(?<!\\)(?:\\\\)*(\\u[dD][89abAB][0-9a-fA-F]{2})(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})")
_POSITIONAL = re.compile(rb'"features"[ \t\r\n]*:[ \t\r\n]*\[([^\[\]{}]*)\Z')
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')
_NO_NUMBER = re.compile(rb"-?(NaN|nan|Inf|inf|I)|[+N]")
_NUMBER_STARTS = frozenset(b"%c" % byte for byte in b"-0123456789")
_LOOK_BACK_BYTES = 4096
_LOOK_BACK_ROW_BYTES = 64 << 10
_CLIPPED_BYTES = 200
_OPTIONS = ("unknown_categories", "explain")
_ONE = ("features", *_OPTIONS)
_MANY = ("instances", *_OPTIONS)
MAX_EXPLAINED = 1 << 31
MAX_NUMBER_CHARS = 256 << 10
"""No number is longer: converting digits costs some 13 ns each, and none past the 800th can change a float64."""
_SPARE_VALUES = 1000
_SPARE_TIMES = 4
"""How many values an instance may hold beside those of its features: names that are ignored, names given again."""
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_any = msgspec.json.Decoder().decode


Explain = bool | int
"""Whether an explanation is asked: of all features, or of the k that weigh most."""

Asked = tuple[Row, Explain]


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the bodies of one schema."""

    schema: Schema
    leniency: Leniency
    max_instances: int
    max_values: int = field(init=False)
    """How many values an instance may hold, and what else a comma may stand for."""

    def __post_init__(self) -> None:
        n_values = _SPARE_TIMES * len(self.schema.names) + _SPARE_VALUES
        object.__setattr__(self, "max_values", n_values + _commas_within(self.schema))

    def row(self, body: bytes) -> Asked:
        """Return what a `/predict` body asks; RequestError names what is wrong."""
        return self._asked(_whole(body, self.schema.names), "the body", self.leniency)

    def rows(self, body: bytes, quickly: Callable[[bytes], Asked | None] = lambda _: None) -> list[Asked]:
        """Return what a `/predict/batch` body asks; RequestError names what is wrong, and the instance it is wrong with.

        `quickly` may know what an instance asks; for one of which it says None, this reader decides.
        """
        members = self._envelope(_whole(body, self.schema.names))
        leniency = _leniency(members, self.leniency)
        explain = _explain(members)
        asked = []
        for index, instance in enumerate(self._instances(members)):
            try:
                known = quickly(bytes(instance)) if leniency == self.leniency else None
                row, explain_this = known or self._asked(instance, "an instance", leniency)
                asked.append((row, explain_this or explain))
            except InvalidRequestError as error:
                details = {"index": index, **error.details}
                raise type(error)(f"instance {index}: {error}", **details) from error
        return asked

    def _envelope(self, raw: msgspec.Raw) -> dict[str, msgspec.Raw]:
        values = _values_at_most(raw)
        if values > self.max_instances * self.max_values:
            raise BatchTooLargeError(
                f"the batch holds some {values} values, more than {self.max_instances} instances of "
                f"{len(self.schema.names)} features may; send it in parts, or raise --max-batch",
                values=values,
                max_instances=self.max_instances,
            )
        members = _members(raw, "the body")
        _only(members, _MANY, 'a batch is {"instances": [{"features": …}, …]}')
        return members

    def _instances(self, members: Mapping[str, msgspec.Raw]) -> list[msgspec.Raw]:
        if "instances" not in members:
            raise InvalidRequestError(
                'the body has no "instances"; send {"instances": [{"features": …}, …]}', field="instances"
            )
        if not _is(members["instances"], b"["):
            raise InvalidRequestError(
                "instances must be an array of /predict bodies", field="instances", expected="array"
            )
        instances = _decode_items(members["instances"])
        if not instances:
            raise EmptyBatchError("the batch holds no instance; send at least one", instances=0)
        if len(instances) > self.max_instances:
            raise BatchTooLargeError(
                f"the batch holds {len(instances)} instances, more than {self.max_instances}; send it in parts, "
                "or raise --max-batch",
                instances=len(instances),
                max_instances=self.max_instances,
            )
        return instances

    def _asked(self, instance: msgspec.Raw, what: str, leniency: Leniency) -> Asked:
        values = _values_at_most(instance)
        if values > self.max_values:
            n = len(self.schema.names)
            raise FeatureCountError(
                f"expected {n} features, got some {values} values; GET /models lists the features",
                expected=n,
                got=values,
            )
        members = _members(instance, what)
        return _row(members, self.schema, _leniency(members, leniency)), _explain(members)


def _commas_within(schema: Schema) -> int:
    """Count the commas that stand within the names and categories of a right instance, which are no values."""
    within = 0
    for feature in schema.features:
        within += feature.name.count(",") + max((str(c).count(",") for c in feature.categories or ()), default=0)
    return within


def _values_at_most(raw: msgspec.Raw) -> int:
    """Return how many values JSON text can hold at the most."""
    return bytes(raw).count(b",") + 1


def _whole(body: bytes, features: Sequence[str]) -> msgspec.Raw:
    """Check that the bytes are one JSON document in UTF-8."""
    if not body.strip():
        raise MalformedRequestError("the body is empty; send a JSON object")
    try:
        body.decode("utf-8")
        return msgspec.json.decode(body, type=msgspec.Raw)
    except UnicodeDecodeError as error:
        raise MalformedRequestError(f"the body is not UTF-8 at byte {error.start}") from error
    except RecursionError as error:
        raise MalformedRequestError("the body is nested too deep") from error
    except msgspec.MsgspecError as error:
        raise _not_json(body, str(error), features) from error


def _members(raw: msgspec.Raw, what: str) -> dict[str, msgspec.Raw]:
    if not _is(raw, b"{"):
        raise InvalidRequestError(f"{what} must be a JSON object, not {_type_of(raw)}", expected="object")
    return _decode_members(raw)


def _row(members: Mapping[str, msgspec.Raw], schema: Schema, leniency: Leniency) -> Row:
    _only(members, _ONE, 'a request is {"features": {name: value, …}} or {"features": [value, …]}')
    if "features" not in members:
        raise InvalidRequestError(
            'the body has no "features"; send {"features": {name: value, …}} or {"features": [value, …]}',
            field="features",
        )
    features = members["features"]
    if _is(features, b"{"):
        named = _decode_members(features)
        known = set(schema.names)
        if leniency.unknown_features == "ignore":
            named = {name: value for name, value in named.items() if name in known}
        return schema.row_by_name({n: _value(v, n) if n in known else None for n, v in named.items()}, leniency)
    if _is(features, b"["):
        items = _decode_items(features)
        if len(items) != len(schema.names):
            # Refused by number, whatever the values are.
            return schema.row_by_position(items, leniency)
        return schema.row_by_position([_value(v, n) for n, v in zip(schema.names, items, strict=True)], leniency)
    return schema.row(_member(features, "features"), leniency)


def _is_too_long_a_number(raw: msgspec.Raw) -> bool:
    text = bytes(raw)
    return len(text) > MAX_NUMBER_CHARS and text.lstrip()[:1] in _NUMBER_STARTS


def _member(raw: msgspec.Raw, name: str) -> Any:
    try:
        if _is_too_long_a_number(raw):
            raise msgspec.ValidationError
        return _decode_any(raw)
    except msgspec.MsgspecError as error:
        raise InvalidRequestError(f"{name} holds a number out of the range of float64", field=name) from error


def _value(raw: msgspec.Raw, name: str) -> Any:
    if _is_too_long_a_number(raw):
        raise InvalidFeatureError(
            f"feature {shown_name(name)}: {clip(bytes(raw)[:_CLIPPED_BYTES].decode())} is a number of {len(bytes(raw))} "
            f"characters, more than {MAX_NUMBER_CHARS}",
            feature=clip(name),
            expected=f"a number of at most {MAX_NUMBER_CHARS} characters",
        )
    try:
        return _decode_any(raw)
    except msgspec.MsgspecError as error:
        raise InvalidFeatureError(
            f"feature {shown_name(name)}: {clip(bytes(raw).decode())} is out of the range of float64",
            feature=clip(name),
            expected="a number within the range of float64",
        ) from error
    except RecursionError as error:
        raise MalformedRequestError("the body is nested too deep") from error


def _leniency(members: Mapping[str, msgspec.Raw], leniency: Leniency) -> Leniency:
    raw = members.get("unknown_categories")
    if raw is None:
        return leniency
    chosen = _member(raw, "unknown_categories")
    if chosen == "missing":
        return Leniency(leniency.unknown_features, "missing")
    if chosen == "refuse":
        return leniency
    raise InvalidRequestError(
        f'unknown_categories must be "refuse" or "missing", not {shown(chosen)}', field="unknown_categories"
    )


def _explain(members: Mapping[str, msgspec.Raw]) -> Explain:
    raw = members.get("explain")
    if raw is None:
        return False
    chosen = _member(raw, "explain")
    if isinstance(chosen, bool):
        return chosen
    if isinstance(chosen, int) and 1 <= chosen <= MAX_EXPLAINED:
        return chosen
    raise InvalidRequestError(
        f"explain must be true, false, or how many features to name (1 or more), not {shown(chosen)}", field="explain"
    )


def _only(members: Mapping[str, msgspec.Raw], known: tuple[str, ...], contract: str) -> None:
    for name in members:
        if name not in known:
            raise InvalidRequestError(f"the body has no member {shown_name(name)}: {contract}", field=clip(name))


def _is(raw: msgspec.Raw, opening: bytes) -> bool:
    return bytes(raw).lstrip(b" \t\r\n").startswith(opening)


def _type_of(raw: msgspec.Raw) -> str:
    if _is_too_long_a_number(raw):
        return "a number"
    try:
        return json_type(_decode_any(raw))
    except (msgspec.MsgspecError, RecursionError):
        return "a value out of range"


def _not_json(body: bytes, reason: str, features: Sequence[str]) -> MalformedRequestError:
    """Say where JSON ends being JSON, and after which name: a person looks for the field, not for byte 1417."""
    reason, byte = reason.removeprefix("JSON is malformed: "), None
    if place := _BYTE.search(reason):
        byte = int(place[1])
    elif lone := _LONE_SURROGATE.search(body):
        # Which msgspec takes for the end of its input.
        byte = lone.start(1)
        reason = f"unexpected end of hex escape (byte {byte})"
    if byte is None:
        return MalformedRequestError(f"the body is not JSON: {reason}")
    hint = ""
    if _NO_NUMBER.match(body, byte):
        hint = "; JSON has no NaN or Infinity, send null where a value is missing"
    elif "hex escape" in reason or "surrogate" in reason:
        hint = "; an escaped surrogate stands alone, and makes a character only in a pair"
    if positional := _POSITIONAL.search(body, max(0, byte - _LOOK_BACK_ROW_BYTES), byte):
        index = _STRING.sub(b"", positional[1]).count(b",")
        if index < len(features):
            name = clip(features[index])
            sentence = f'the body is not JSON at value {index} of features, which is "{name}": {reason}{hint}'
            return MalformedRequestError(sentence, byte=byte, field=name)
    names = _NAME.findall(body, max(0, byte - _LOOK_BACK_BYTES), byte + 1)
    if not names:
        return MalformedRequestError(f"the body is not JSON: {reason}{hint}", byte=byte)
    name = clip(names[-1].decode("utf-8", errors="replace"))
    return MalformedRequestError(f'the body is not JSON after "{name}": {reason}{hint}', byte=byte, field=name)

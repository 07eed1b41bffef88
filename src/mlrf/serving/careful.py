"""From the bytes of a request to rows, slowly, by the schema's own rules: every refusal names field, value and remedy.

The envelope is decoded first and each feature's value by itself, so that a number out of range is blamed on its feature.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from mlrf.core.errors import (
    BatchTooLargeError,
    EmptyBatchError,
    InvalidFeatureError,
    InvalidRequestError,
    MalformedRequestError,
)
from mlrf.core.schema import Leniency, Schema, clip, json_type, shown, shown_name
from mlrf.engines.port import Row

_BYTE = re.compile(r"\(byte (\d+)\)")
_NAME = re.compile(rb'"([^"\\\\]*)"[ \t\r\n]*:')
_NO_NUMBER = re.compile(rb"-?(NaN|nan|Inf|inf|I)|[+N]")
_LOOK_BACK_BYTES = 4096
_OPTIONS = ("unknown_categories", "explain")
_ONE = ("features", *_OPTIONS)
_MANY = ("instances", *_OPTIONS)
MAX_EXPLAINED = 1 << 31
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_any = msgspec.json.Decoder().decode


Explain = bool | int
"""Whether an explanation is asked: of all features, or of the k that weigh most."""

Asked = tuple[Row, Explain]


def read_row(body: bytes, schema: Schema, leniency: Leniency) -> Asked:
    """Return what a `/predict` body asks; RequestError names what is wrong."""
    return _asked(_members(_whole(body), "the body"), schema, leniency)


def read_rows(body: bytes, schema: Schema, leniency: Leniency, max_instances: int) -> list[Asked]:
    """Return what a `/predict/batch` body asks; RequestError names what is wrong, and the instance it is wrong with."""
    members = _members(_whole(body), "the body")
    leniency = _leniency(members, leniency)
    explain = _explain(members)
    _only(members, _MANY, 'a batch is {"instances": [{"features": …}, …]}')
    if "instances" not in members:
        raise InvalidRequestError(
            'the body has no "instances"; send {"instances": [{"features": …}, …]}', field="instances"
        )
    if not _is(members["instances"], b"["):
        raise InvalidRequestError("instances must be an array of /predict bodies", field="instances", expected="array")
    instances = _decode_items(members["instances"])
    if not instances:
        raise EmptyBatchError("the batch holds no instance; send at least one", instances=0)
    if len(instances) > max_instances:
        raise BatchTooLargeError(
            f"the batch holds {len(instances)} instances, more than {max_instances}; send it in parts, or raise --max-batch",
            instances=len(instances),
            max_instances=max_instances,
        )
    asked = []
    for index, instance in enumerate(instances):
        try:
            row, explain_this = _asked(_members(instance, "an instance"), schema, leniency)
            asked.append((row, explain_this or explain))
        except InvalidRequestError as error:
            details = {"index": index, **error.details}
            raise type(error)(f"instance {index}: {error}", **details) from error
    return asked


def _whole(body: bytes) -> msgspec.Raw:
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
        raise _not_json(body, str(error)) from error


def _members(raw: msgspec.Raw, what: str) -> dict[str, msgspec.Raw]:
    if not _is(raw, b"{"):
        raise InvalidRequestError(f"{what} must be a JSON object, not {_type_of(raw)}", expected="object")
    return _decode_members(raw)


def _asked(members: Mapping[str, msgspec.Raw], schema: Schema, leniency: Leniency) -> Asked:
    return _row(members, schema, _leniency(members, leniency)), _explain(members)


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


def _member(raw: msgspec.Raw, name: str) -> Any:
    try:
        return _decode_any(raw)
    except msgspec.MsgspecError as error:
        raise InvalidRequestError(f"{name} holds a number out of the range of float64", field=name) from error


def _value(raw: msgspec.Raw, name: str) -> Any:
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
    try:
        return json_type(_decode_any(raw))
    except (msgspec.MsgspecError, RecursionError):
        return "a value out of range"


def _not_json(body: bytes, reason: str) -> MalformedRequestError:
    """Say where JSON ends being JSON, and after which name: a person looks for the field, not for byte 1417."""
    reason = reason.removeprefix("JSON is malformed: ")
    place = _BYTE.search(reason)
    if place is None:
        return MalformedRequestError(f"the body is not JSON: {reason}")
    byte = int(place[1])
    hint = ""
    if _NO_NUMBER.match(body, byte):
        hint = "; JSON has no NaN or Infinity, send null where a value is missing"
    names = _NAME.findall(body, max(0, byte - _LOOK_BACK_BYTES), byte + 1)
    if not names:
        return MalformedRequestError(f"the body is not JSON: {reason}{hint}", byte=byte)
    name = clip(names[-1].decode("utf-8", errors="replace"))
    return MalformedRequestError(f'the body is not JSON after "{name}": {reason}{hint}', byte=byte, field=name)

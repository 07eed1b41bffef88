"""Checks and decodes JSON text piece by piece, with an error message for each way it can be invalid.

The outer object is split first and each value decoded by itself, so that the error for a number out of range names its field. A
decoder is one C call that keeps the GIL until it ends, in any thread. Values are therefore counted first, by their commas, in
one pass that takes a thousandth of the time of decoding.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec

from mlrf.core.errors import InvalidFeatureError, InvalidKeyError, InvalidRequestError, MalformedRequestError
from mlrf.core.lazy_pattern import lazy_pattern
from mlrf.core.value_text import clip, json_type, shown_name
from mlrf.serving.runtime.slow_numbers import check_numbers
from mlrf.serving.runtime.thresholds import FAST_JSON_BYTES

_BYTE = lazy_pattern(r"\(byte (\d+)\)")
_NAME = lazy_pattern(rb'"([^"\\\\]*)"[ \t\r\n]*:')
_LONE_SURROGATE = lazy_pattern(rb"(?<!\\)(?:\\\\)*(\\u[dD][89abAB][0-9a-fA-F]{2})(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})")
_POSITIONAL = lazy_pattern(rb'"features"[ \t\r\n]*:[ \t\r\n]*\[([^\[\]{}]*)\Z')
_STRING = lazy_pattern(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
"""Also matches an unterminated string up to the end of the text, which keeps the search linear."""
_NO_NUMBER = lazy_pattern(rb"-?(NaN|nan|Inf|inf|I)|N")
_NUMBER_STARTS = frozenset(b"%c" % byte for byte in b"-0123456789")
_DOUBLY_ENCODED = lazy_pattern(rb'\s*"\s*[\[{]')
_SPARE_TIMES, _SPARE_VALUES = 4, 1000
_BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_LOOK_BACK_BYTES = 4096
_LOOK_BACK_ROW_BYTES = 64 << 10
_CLIPPED_BYTES = 200
MAX_NUMBER_CHARS = FAST_JSON_BYTES
"""Longest number accepted: converting costs some 13 ns a digit, and digits past the 800th cannot change a float64. A body that
the fast parser decodes is too short for a longer one, so it needs no check."""
MANY_VALUES = 10_000
"""Objects with more commas than this are looked through for members that are not known, before all are decoded."""
_FEW_ITEMS, _MANY_ITEMS = 100_000, 300_000
"""Items that are decoded uncounted: few of any rows, and many if the rows that are allowed have so many values. An array of two
million empty rows took 170 ms, in one call that keeps the GIL."""
_DEEPEST_ITEM = 5
_TEXT = rb'"(?:[^"\\]++|\\.)*+"'
_UNKNOWN = lazy_pattern(r"unknown field `(.*)`", re.DOTALL)
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
items_of = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_any = msgspec.json.Decoder().decode


def most_values(n_features: int) -> int:
    """Return how many values a row may have, names that are ignored or repeated included."""
    return _SPARE_TIMES * n_features + _SPARE_VALUES


def values_at_most(raw: msgspec.Raw) -> int:
    """Return an upper bound of the number of values in JSON text."""
    return bytes(raw).count(b",") + 1


def has_more_items(raw: msgspec.Raw, most: int, n_features: int) -> bool:
    """Return whether an array or object has more than `most` rows of so many features, before all of them are decoded.

    False for few values, which are decoded fast, and where a row is nested deeper than any valid one.
    """
    if values_at_most(raw) <= max(_FEW_ITEMS, min(most * n_features, _MANY_ITEMS)):
        return False
    return _more_than(most).match(raw) is not None


@lru_cache(maxsize=4)
def _more_than(most: int) -> re.Pattern[bytes]:
    nested = b"(?!)"
    for _ in range(_DEEPEST_ITEM):
        nested = rb'[\[{](?:[^\[\]{}"]++|%b|%b)*+[\]}]' % (_TEXT, nested)
    item = rb'(?:[^\[\]{}",]++|%b|%b)*+' % (_TEXT, nested)
    return re.compile(rb"\s*[\[{](?:%b,){%d}" % (item, most), re.DOTALL)


def whole_document(body: bytes, features: Sequence[str]) -> msgspec.Raw:
    """Return the body as JSON text; MalformedRequestError, which may name one of `features`, if it is not JSON in UTF-8.

    BatchTooLargeError if it has too many numbers that take long to convert.
    """
    if not body.strip():
        raise MalformedRequestError("the body is empty; send a JSON object")
    check_numbers(body)
    try:
        body.decode("utf-8")
        return msgspec.json.decode(body, type=msgspec.Raw)
    except UnicodeDecodeError as error:
        raise MalformedRequestError(f"the body is not UTF-8 at byte {error.start}{_byte_order(body)}") from error
    except RecursionError as error:
        raise MalformedRequestError("the body is nested too deep") from error
    except msgspec.MsgspecError as error:
        raise _not_json(body, str(error), features) from error


def members_of(raw: msgspec.Raw, what: str) -> dict[str, msgspec.Raw]:
    """Return the members of a JSON object; raises InvalidRequestError, which names `what`, for any other type."""
    if not begins_with(raw, b"{"):
        twice = "; it was encoded as JSON twice" if _DOUBLY_ENCODED.match(raw) else ""
        raise InvalidRequestError(f"{what} must be a JSON object, not {type_of(raw)}{twice}", expected="object")
    return _decode_members(raw)


class KnownMembers:
    """Splits objects whose members have known names: another name ends the decoding, however many follow."""

    def __init__(self, names: Sequence[str]) -> None:
        fields = [(f"m{index}", msgspec.Raw | msgspec.UnsetType, msgspec.UNSET) for index in range(len(names))]
        rename = {f"m{index}": name for index, name in enumerate(names)}
        made = msgspec.defstruct("Known", fields, rename=rename, forbid_unknown_fields=True)
        self._names = tuple(names)
        self._decode = msgspec.json.Decoder(made).decode

    def of(self, raw: msgspec.Raw, what: str) -> dict[str, msgspec.Raw]:
        """Return the members as `members_of` does; of a large object with an unknown member, only that one, as null."""
        if values_at_most(raw) <= MANY_VALUES or not begins_with(raw, b"{"):
            return members_of(raw, what)
        try:
            found = msgspec.structs.astuple(self._decode(raw))
        except msgspec.ValidationError as error:
            unknown = _UNKNOWN.search(str(error))
            return members_of(raw, what) if unknown is None else {unknown[1]: msgspec.Raw(b"null")}
        pairs = zip(self._names, found, strict=True)
        return {name: value for name, value in pairs if value is not msgspec.UNSET}


def _is_too_long_a_number(raw: msgspec.Raw) -> bool:
    text = bytes(raw)
    return len(text) > MAX_NUMBER_CHARS and text.lstrip()[:1] in _NUMBER_STARTS


def value_of(raw: msgspec.Raw, name: str) -> Any:
    """Return the decoded value of an option; InvalidRequestError for a number out of the range of float64."""
    try:
        if _is_too_long_a_number(raw):
            raise msgspec.ValidationError
        return _decode_any(raw)
    except msgspec.MsgspecError as error:
        raise InvalidRequestError(f"{name} contains a number outside the range of float64", field=name) from error


def feature_value(raw: msgspec.Raw, name: str) -> Any:
    """Return the decoded value of a feature; raises InvalidFeatureError, which names the feature.

    A number beyond float64, such as 1e999, is infinity, as in JavaScript and Python; the schema says whether it is accepted.
    """
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
        text = bytes(raw).lstrip()
        if text[:1] in _NUMBER_STARTS:
            return -math.inf if text[:1] == b"-" else math.inf
        raise InvalidFeatureError(
            f"feature {shown_name(name)}: {clip(bytes(raw).decode())} is outside the range of float64",
            feature=clip(name),
            expected="a number within the range of float64",
        ) from error
    except RecursionError as error:
        raise MalformedRequestError("the body is nested too deep") from error


def key_value(raw: msgspec.Raw, name: str) -> Any:
    """Return the decoded value of a key field; raises InvalidKeyError, which names the field."""
    try:
        if not _is_too_long_a_number(raw):
            return _decode_any(raw)
    except (msgspec.MsgspecError, RecursionError):
        pass
    text = clip(bytes(raw)[:_CLIPPED_BYTES].decode(errors="replace"))
    raise InvalidKeyError(f"key field {shown_name(name)}: {text} cannot be a value of a key", field=clip(name))


def begins_with(raw: msgspec.Raw, prefix: bytes) -> bool:
    """Return whether JSON text is an object, array or string, by its first byte."""
    return bytes(raw).lstrip(b" \t\r\n").startswith(prefix)


def type_of(raw: msgspec.Raw) -> str:
    """Return the type of JSON text with its article, for messages: "an array"."""
    if _is_too_long_a_number(raw):
        return "a number"
    try:
        return json_type(_decode_any(raw))
    except (msgspec.MsgspecError, RecursionError):
        return "a value out of range"


def _remedy(body: bytes, byte: int, reason: str) -> str:
    """Return what to do about a body that is malformed at a byte, "" where the reason says it."""
    if body[byte : byte + 1] == b"+":
        return "; remove the plus sign, which JSON does not allow"
    if _NO_NUMBER.match(body, byte):
        return "; JSON has no NaN or Infinity; send null where a value is missing"
    if "hex escape" in reason or "surrogate" in reason:
        return "; a surrogate escape is unpaired; send both halves"
    if "trailing characters" in reason:
        return "; send one document: several rows, as of JSON lines, in an array"
    return _byte_order(body) if byte == 0 else ""


def _byte_order(body: bytes) -> str:
    """Return a remedy for text that begins with a byte order mark."""
    return "; it begins with a byte order mark: send UTF-8 without one" if body.startswith(_BYTE_ORDER_MARKS) else ""


def _not_json(body: bytes, reason: str, features: Sequence[str]) -> MalformedRequestError:
    """Return the error for malformed JSON; it names the preceding field, which is easier to find than a byte offset."""
    reason, byte = reason.removeprefix("JSON is malformed: "), None
    if offset := _BYTE.search(reason):
        byte = int(offset[1])
    elif lone := _LONE_SURROGATE.search(body):
        # msgspec takes an invalid hex digit for the end of its input.
        byte = lone.start(1)
        reason = f"unexpected end of hex escape (byte {byte})"
    if byte is None:
        return MalformedRequestError(f"the body is not JSON: {reason}")
    hint = _remedy(body, byte, reason)
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

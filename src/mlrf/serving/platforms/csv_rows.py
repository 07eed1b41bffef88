"""Reads the rows of CSV bodies.

1. The first line is a header if it consists of exactly the names of the features, in any order. `header=present` or
   `header=absent` in the content type overrides that. A first line with only some of the names is refused.
2. No data row is dropped. An empty field, or `nan`, is a missing value.
3. With a header, categories are given by value; without one, numbers are codes and other texts are names.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum

import msgspec

from mlrf.core.errors import (
    FeatureCountError,
    InvalidRequestError,
    MalformedRequestError,
    MissingFeatureError,
    UnknownFeatureError,
    UnsupportedMediaTypeError,
)
from mlrf.core.feature import Feature, Kind
from mlrf.core.lazy_pattern import lazy_pattern
from mlrf.core.repeated_names import first_repeated
from mlrf.core.value_text import clip, shown_name
from mlrf.serving.native.canonical_rows import RowWriter
from mlrf.serving.native.json_scanner import most_values

_JSON_NUMBER = lazy_pattern(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_NUMBER = lazy_pattern(r"[+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?")
"""Possessive, so that a million digits before a letter are not matched again in other ways."""
_INFINITY = lazy_pattern(r"[+-]?inf(inity)?", re.IGNORECASE)
_TRUE, _FALSE = frozenset(("true", "1", "1.0")), frozenset(("false", "0", "0.0"))
_MAX_FIELD_CHARS = 1 << 20
_encode = msgspec.json.encode


class Header(StrEnum):
    """How the first line of a body is read."""

    EXACT = "exact"
    """It must be a header of exactly the features' names; otherwise the body is refused."""
    DETECT = "detect"
    """It is a header if it has exactly the features' names, otherwise data."""
    PRESENT = "present"
    ABSENT = "absent"


def header_of(parameters: bytes, otherwise: Header) -> Header:
    """Return how the parameters of a content type say that the first line of CSV is read; `otherwise` if they do not."""
    for parameter in parameters.split(b";"):
        name, _, value = (part.strip().lower().strip(b'"') for part in parameter.partition(b"="))
        if name == b"header":
            if value not in (b"present", b"absent"):
                raise InvalidRequestError("the content type's header must be present or absent", field="header")
            return Header.PRESENT if value == b"present" else Header.ABSENT
        if name == b"charset" and value not in (b"utf-8", b"us-ascii"):
            raise UnsupportedMediaTypeError("CSV must be UTF-8", accepted=["text/csv; charset=utf-8"])
    return otherwise


def rows_of_csv(writer: RowWriter, body: bytes, header: Header) -> list[bytes]:
    """Return the rows of a CSV body; raises MalformedRequestError, FeatureCountError or UnsupportedMediaTypeError."""
    lines = _lines(body, writer.max_rows, len(writer.schema.features))
    names = _header(writer, lines[0] if lines else [], header)
    data = lines if names is None else lines[1:]
    writer.check_count(len(data), is_all=False)
    features = writer.schema.features
    by_name = {feature.name: feature for feature in features}
    columns: Sequence[Feature | None] = features if names is None else [by_name.get(name) for name in names]
    read = [_reader(feature, named=names is not None) for feature in columns]
    named = None if names is None else writer.named(names)
    doubtful = (
        [] if names is not None else [index for index, each in enumerate(features) if _has_names_like_codes(each)]
    )
    rows = []
    for index, line in enumerate(data):
        if len(line) != len(columns) and not (not line and len(columns) == 1):
            raise FeatureCountError(
                f"row {index} of the CSV body has {len(line)} fields, expected {len(columns)}: one for each "
                + ("column of its header" if names is not None else "feature in schema order"),
                expected=len(columns),
                got=len(line),
                index=index,
            )
        values = [reading(field) for reading, field in zip(read, line or [""], strict=True)]
        for position in doubtful:
            if _NUMBER.fullmatch(line[position].strip()):
                raise writer.ambiguous_number(index, position, line[position].encode())
        if named is None:
            rows.append(writer.unnamed(index, msgspec.Raw(b"[%b]" % b",".join(values))))
        else:
            rows.append(named.row(values))
    return rows


def _lines(body: bytes, max_rows: int, n_features: int) -> list[list[str]]:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MalformedRequestError(f"the body is not UTF-8 at byte {error.start}") from error
    # For a model of one feature, an empty line is a row with a missing value.
    text = text.removesuffix("\n").removesuffix("\r") if n_features == 1 else text.rstrip("\r\n")
    if not text and n_features > 1:
        raise MalformedRequestError("the body is empty; send CSV, a row a line")
    lines: list[list[str]] = []
    csv.field_size_limit(_MAX_FIELD_CHARS)
    try:
        for line in csv.reader(_short_lines(text, n_features), strict=True):
            lines.append(line)
            if len(lines) > max_rows + 1:
                # One line more than allowed, header included, is enough to refuse the body.
                break
    except csv.Error as error:
        raise MalformedRequestError(f"the body is not CSV at line {len(lines) + 1}: {error}") from error
    return lines


def _short_lines(text: str, n_features: int) -> Iterator[str]:
    """Yield the lines of a text; FeatureCountError for a line with so many fields that splitting it would take long.

    The csv module splits a line in one call, which keeps the GIL.
    """
    most = most_values(n_features)
    for index, line in enumerate(io.StringIO(text, newline="")):
        if (commas := line.count(",")) > most:
            raise FeatureCountError(
                f"line {index + 1} of the CSV body holds {commas} commas, and a row has {n_features} fields",
                expected=n_features,
                got=commas + 1,
                index=index,
            )
        yield line


def _header(writer: RowWriter, first: Sequence[str], header: Header) -> list[str] | None:
    """Return the names in the header; None if the first line is data."""
    known = frozenset(writer.schema.names)
    names = [field.strip() for field in first]
    is_exact = len(names) == len(known) and known == set(names)
    if header is Header.ABSENT:
        return None
    if is_exact:
        return names
    if header is Header.PRESENT or not known.isdisjoint(names):
        _refuse_header(writer.schema.names, names)
    if header is Header.EXACT:
        raise UnsupportedMediaTypeError(
            "the CSV needs a header with exactly the feature names; to send it without one, start the server with --platform "
            "sagemaker, or send Content-Type: text/csv; header=absent",
            accepted=["application/json", "text/csv; header=absent"],
        )
    return None


_NAMES_OF_INDEX = ("", "Unnamed: 0")
"""What pandas calls the column of a table's index when it writes it, and when it has read it again."""


def _refuse_header(known: Sequence[str], names: Sequence[str]) -> None:
    remedy = "send every name once, or say in the content type that there is no header: text/csv; header=absent"
    if (twice := first_repeated(names)) is not None:
        raise InvalidRequestError(f"the header of the CSV body has {shown_name(twice)} twice; {remedy}", field="header")
    given, features = frozenset(names), frozenset(known)
    if absent := [name for name in known if name not in given]:
        raise MissingFeatureError(
            f"the header of the CSV body lacks {shown_name(absent[0])}; {remedy}",
            feature=absent[0],
            missing=absent[:20],
        )
    extra = [name for name in names if name not in features]
    if names[0] in _NAMES_OF_INDEX:
        remedy = "drop the index that pandas wrote: to_csv(index=False)"
    raise UnknownFeatureError(
        f"the header of the CSV body has {shown_name(extra[0])}, which is not a feature; {remedy}",
        feature=clip(extra[0]),
        unknown=[clip(name) for name in extra[:20]],
    )


def _reader(feature: Feature | None, *, named: bool) -> Callable[[str], bytes]:
    """Return a function from a field to JSON; a text that is invalid for the feature becomes a string, which is refused."""
    if feature is None:
        return _encode
    if feature.kind is Kind.BOOLEAN:
        return _boolean
    if feature.kind is not Kind.CATEGORICAL or feature.categories is None:
        return _number
    listed = {category: _encode(category) for category in feature.categories if isinstance(category, str)}
    others = [category for category in feature.categories if not isinstance(category, str)]
    booleans = {str(category).lower(): _encode(category) for category in others if isinstance(category, bool)}
    numbers = any(not isinstance(category, bool) for category in others)

    def read(field: str) -> bytes:
        if (known := listed.get(field)) is not None and (named or _NUMBER.fullmatch(field) is None):
            return known
        if _is_missing(field):
            return b"null"
        if named and (known := booleans.get(field.strip().lower())) is not None:
            return known
        return _number(field) if numbers or not named else _encode(field)

    return read


def _has_names_like_codes(feature: Feature) -> bool:
    """Whether a category looks like a number other than its own code: CSV has no types to distinguish the two."""
    return any(
        isinstance(category, str) and _NUMBER.fullmatch(category) is not None and float(category) != code
        for code, category in enumerate(feature.categories or ())
    )


def _is_missing(field: str) -> bool:
    stripped = field.strip()
    return not stripped or stripped.lower() == "nan"


def _number(field: str) -> bytes:
    if _is_missing(field):
        return b"null"
    text = field.strip()
    if _JSON_NUMBER.fullmatch(text):
        return text.encode()
    if _NUMBER.fullmatch(text):
        number = float(text)
        if math.isfinite(number):
            return repr(number).encode()
    elif not _INFINITY.fullmatch(text):
        return _encode(field)
    return b"-1e999" if text.startswith("-") else b"1e999"


def _boolean(field: str) -> bytes:
    lowered = field.strip().lower()
    if lowered in _TRUE:
        return b"true"
    if lowered in _FALSE:
        return b"false"
    return _number(field)

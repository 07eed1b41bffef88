"""Bodies of the prediction routes that are refused, each with its status, code and what the error says."""

from __future__ import annotations

import json

from bundles import ALL_KINDS

EXAMPLE = ALL_KINDS.example()


NAMES = list(EXAMPLE)


def with_value(name: str, literal: str) -> bytes:
    """A body whose named feature holds this JSON text."""
    members = {key: json.dumps(value) for key, value in EXAMPLE.items()} | {name: literal}
    return ('{"features": {' + ", ".join(f'"{key}": {value}' for key, value in members.items()) + "}}").encode()


def without(name: str) -> dict:
    return {"features": {key: value for key, value in EXAMPLE.items() if key != name}}


DEEP = "[" * 10**6 + "]" * 10**6


DEEP_OBJECT = '{"a":' * 10**6 + "1" + "}" * 10**6


DIGITS = "1" * 10**6


BAD = {
    # name: (body, status, code, a member of details and its value)
    "empty body": (b"", 400, "MALFORMED_REQUEST", {}),
    "blank body": (b" \r\n\t ", 400, "MALFORMED_REQUEST", {}),
    "not JSON": (b"price=9.5", 400, "MALFORMED_REQUEST", {"byte": 0}),
    "cut short": (b'{"features": {"price": 1', 400, "MALFORMED_REQUEST", {}),
    "two documents": (b"{} {}", 400, "MALFORMED_REQUEST", {}),
    "not UTF-8": (b'{"features": {"price": "\xff"}}', 400, "MALFORMED_REQUEST", {}),
    "UTF-16": ('{"features": {}}'.encode("utf-16"), 400, "MALFORMED_REQUEST", {}),
    "a byte order mark": (b"\xef\xbb\xbf{}", 400, "MALFORMED_REQUEST", {}),
    "a NUL": (b"\0", 400, "MALFORMED_REQUEST", {}),
    "null": (b"null", 422, "INVALID_REQUEST", {"expected": "object or array"}),
    "an array": (b"[]", 422, "FEATURE_COUNT", {"expected": 7, "got": 0}),
    "a number": (b"1", 422, "INVALID_REQUEST", {}),
    "a huge number": (b"1e999", 422, "INVALID_REQUEST", {}),
    "a string": (b'"x"', 422, "INVALID_REQUEST", {}),
    "no features": (b"{}", 422, "INVALID_REQUEST", {"field": "features"}),
    "an unknown member": (b'{"features": {}, "extra": 1}', 422, "INVALID_REQUEST", {"field": "extra"}),
    "features null": (b'{"features": null}', 422, "INVALID_REQUEST", {}),
    "features a number": (b'{"features": 3}', 422, "INVALID_REQUEST", {}),
    "features a huge number": (b'{"features": 1e999}', 422, "INVALID_REQUEST", {}),
    "features a string": (b'{"features": "x"}', 422, "INVALID_REQUEST", {}),
    "features a lone surrogate": (b'{"features": "\\ud800"}', 400, "MALFORMED_REQUEST", {}),
    "missing feature": (without("count"), 422, "MISSING_FEATURE", {"feature": "count"}),
    "no feature at all": ({"features": {}}, 422, "MISSING_FEATURE", {"feature": "price", "missing": NAMES}),
    "unknown feature": ({"features": EXAMPLE | {"colour": 1}}, 422, "UNKNOWN_FEATURE", {"feature": "colour"}),
    "too many values": ({"features": [1] * 8}, 422, "FEATURE_COUNT", {"expected": 7, "got": 8}),
    "too few values": ({"features": [1] * 6}, 422, "FEATURE_COUNT", {"expected": 7, "got": 6}),
    "no values": ({"features": []}, 422, "FEATURE_COUNT", {"got": 0}),
    "NaN by position": (b'{"features": [1, 2, true, NaN, 1, 7, 0]}', 400, "MALFORMED_REQUEST", {"field": "store"}),
    "NaN first by position": (b'{"features":[NaN,2]}', 400, "MALFORMED_REQUEST", {"field": "price", "byte": 13}),
    "NaN behind a string": (b'{"features": ["a,\\",b", -Infinity]}', 400, "MALFORMED_REQUEST", {"field": "count"}),
    "NaN beyond the features": (
        b'{"features": [1,1,1,1,1,1,1,NaN]}',
        400,
        "MALFORMED_REQUEST",
        {"field": "features", "byte": 28},
    ),
    "a lone surrogate behind a good name": (
        b'{"features": {"price": 1, "\\ud800": 1}}',
        400,
        "MALFORMED_REQUEST",
        {"field": "price", "byte": 33},
    ),
    "a lone surrogate": (with_value("store", '"\\uD83D"'), 400, "MALFORMED_REQUEST", {"field": "store"}),
    "a lone surrogate behind a pair": (
        with_value("store", '"\\\\ud800\\ud83d\\ude00\\udbff"'),
        400,
        "MALFORMED_REQUEST",
        {"field": "store"},
    ),
    "NaN": (with_value("price", "NaN"), 400, "MALFORMED_REQUEST", {"field": "price"}),
    "-NaN": (with_value("price", "-NaN"), 400, "MALFORMED_REQUEST", {"field": "price"}),
    "Infinity": (with_value("price", "Infinity"), 400, "MALFORMED_REQUEST", {"field": "price"}),
    "-Infinity": (with_value("price", "-Infinity"), 400, "MALFORMED_REQUEST", {"field": "price"}),
    "1e999": (with_value("price", "1e999"), 422, "INVALID_FEATURE", {"feature": "price"}),
    "-1e999": (with_value("price", "-1e999"), 422, "INVALID_FEATURE", {"feature": "price"}),
    "1e999 for an integer": (with_value("count", "1e999"), 422, "INVALID_FEATURE", {"feature": "count"}),
    "1e999 for a category": (with_value("store", "1e999"), 422, "INVALID_FEATURE", {"feature": "store"}),
    "1e999 in an unknown feature": (with_value("colour", "1e999"), 422, "UNKNOWN_FEATURE", {"feature": "colour"}),
    "1e999 by position": (b'{"features": [1e999, 1, true, 0, 0, 0, 1]}', 422, "INVALID_FEATURE", {"feature": "price"}),
    "a million digits": (with_value("price", DIGITS), 422, "INVALID_FEATURE", {"feature": "price"}),
    "a million digits for an integer": (with_value("count", DIGITS), 422, "INVALID_FEATURE", {"feature": "count"}),
    "a million digits by position": (f'{{"features": [{DIGITS}]}}'.encode(), 422, "FEATURE_COUNT", {}),
    "a million digits for no feature": (with_value("colour", DIGITS), 422, "UNKNOWN_FEATURE", {"feature": "colour"}),
    "a million digits of a fraction": (
        with_value("count", "0." + DIGITS),
        422,
        "INVALID_FEATURE",
        {"feature": "count"},
    ),
    "a string for a number": (
        with_value("price", '"9.5"'),
        422,
        "INVALID_FEATURE",
        {"feature": "price", "value": "9.5"},
    ),
    "true for a number": (with_value("price", "true"), 422, "INVALID_FEATURE", {"feature": "price", "value": True}),
    "an array for a number": (with_value("price", "[1]"), 422, "INVALID_FEATURE", {"feature": "price"}),
    "an object for a number": (with_value("price", "{}"), 422, "INVALID_FEATURE", {"feature": "price"}),
    "a fraction for an integer": (
        with_value("count", "1.5"),
        422,
        "INVALID_FEATURE",
        {"feature": "count", "value": 1.5},
    ),
    "2 for a boolean": (with_value("promo", "2"), 422, "INVALID_FEATURE", {"feature": "promo", "value": 2}),
    "null where none may be": (
        with_value("depth", "null"),
        422,
        "INVALID_FEATURE",
        {"feature": "depth", "value": None},
    ),
    "an unknown category": (
        with_value("store", '"west"'),
        422,
        "UNKNOWN_CATEGORY",
        {"feature": "store", "value": "west"},
    ),
    "an unknown number of a category": (
        with_value("size", "11"),
        422,
        "UNKNOWN_CATEGORY",
        {"feature": "size", "value": 11},
    ),
    "a code for a name": (with_value("store", "1"), 422, "UNKNOWN_CATEGORY", {"feature": "store", "value": 1}),
    "a boolean for a category": (
        with_value("size", "true"),
        422,
        "UNKNOWN_CATEGORY",
        {"feature": "size", "value": True},
    ),
    "a wrong name for a code": (
        {"features": [1, 1, True, "sud", 0, 0, 1]},
        422,
        "UNKNOWN_CATEGORY",
        {"feature": "store", "value": "sud"},
    ),
    "a code past the list": (
        {"features": [1, 1, True, 3, 0, 0, 1]},
        422,
        "UNKNOWN_CATEGORY",
        {"feature": "store", "value": 3},
    ),
    "a code below the list": ({"features": [1, 1, True, -1, 0, 0, 1]}, 422, "UNKNOWN_CATEGORY", {"feature": "store"}),
    "a fraction for an open code": (with_value("code", "0.5"), 422, "INVALID_FEATURE", {"feature": "code"}),
    "a lone surrogate for a category": (with_value("store", '"\\ud800"'), 400, "MALFORMED_REQUEST", {}),
    "a lone surrogate for a number": (with_value("price", '"\\udfff"'), 400, "MALFORMED_REQUEST", {}),
    "a lone surrogate in a name": (with_value("\\ud800", "1"), 400, "MALFORMED_REQUEST", {}),
    "a lone surrogate in an unknown feature": (with_value("colour", '"\\ud800"'), 400, "MALFORMED_REQUEST", {}),
    "a lone surrogate in a member's name": (b'{"\\ud800": 1}', 400, "MALFORMED_REQUEST", {}),
    "a lone surrogate in a member": (
        b'{"features": {}, "unknown_categories": "\\ud800"}',
        400,
        "MALFORMED_REQUEST",
        {},
    ),
    "surrogates the wrong way round": (with_value("store", '"\\udc00\\ud800"'), 400, "MALFORMED_REQUEST", {}),
    "a bad escape": (with_value("store", '"\\x41"'), 400, "MALFORMED_REQUEST", {}),
    "a control character in a string": (with_value("store", '"\x01"'), 400, "MALFORMED_REQUEST", {}),
    "deep nesting": (DEEP.encode(), 400, "MALFORMED_REQUEST", {}),
    "deep nesting cut short": (b"[" * 10**6, 400, "MALFORMED_REQUEST", {}),
    "deep nesting of objects": (DEEP_OBJECT.encode(), 400, "MALFORMED_REQUEST", {}),
    "deep nesting for features": (f'{{"features": {DEEP}}}'.encode(), 400, "MALFORMED_REQUEST", {}),
    "deep nesting in a feature": (with_value("price", DEEP), 400, "MALFORMED_REQUEST", {}),
    "deep nesting in an unknown feature": (with_value("colour", DEEP_OBJECT), 400, "MALFORMED_REQUEST", {}),
    "deep nesting in an unknown member": (f'{{"features": [], "x": {DEEP}}}'.encode(), 400, "MALFORMED_REQUEST", {}),
    "deep nesting in an option": (
        f'{{"features": [], "unknown_categories": {DEEP}}}'.encode(),
        400,
        "MALFORMED_REQUEST",
        {},
    ),
    "an unknown option": (
        {"features": EXAMPLE, "unknown_categories": "guess"},
        422,
        "INVALID_REQUEST",
        {"field": "unknown_categories"},
    ),
    "an option of the wrong type": (
        {"features": EXAMPLE, "unknown_categories": 1},
        422,
        "INVALID_REQUEST",
        {"field": "unknown_categories"},
    ),
    "a huge number for an option": (
        b'{"features": [], "unknown_categories": 1e999}',
        422,
        "INVALID_REQUEST",
        {"field": "unknown_categories"},
    ),
}


BAD_BATCHES = {
    "empty batch": ({"instances": []}, 422, "EMPTY_BATCH", {"instances": 0}),
    "101 instances": (
        {"instances": [{"features": EXAMPLE}] * 101},
        413,
        "BATCH_TOO_LARGE",
        {"instances": 101, "max_instances": 100},
    ),
    "101 instances of nothing": ({"instances": [None] * 101}, 413, "BATCH_TOO_LARGE", {"instances": 101}),
    "no instances": ({}, 422, "INVALID_REQUEST", {"field": "instances"}),
    "instances an object": ({"instances": {}}, 422, "INVALID_REQUEST", {"field": "instances"}),
    "an instance null": ({"instances": [{"features": EXAMPLE}, None]}, 422, "INVALID_REQUEST", {"index": 1}),
    "an instance of numbers": ({"instances": [[1, 2]]}, 422, "FEATURE_COUNT", {"index": 0}),
    "an unknown member": ({"instances": [{"features": EXAMPLE}], "x": 1}, 422, "INVALID_REQUEST", {"field": "x"}),
    "a missing feature": (
        {"instances": [{"features": EXAMPLE}, without("size")]},
        422,
        "MISSING_FEATURE",
        {"index": 1, "feature": "size"},
    ),
    "empty body": (b"", 400, "MALFORMED_REQUEST", {}),
    "deep nesting": (f'{{"instances": {DEEP}}}'.encode(), 400, "MALFORMED_REQUEST", {}),
    "a lone surrogate": (b'{"instances": [{"\\ud800": 1}]}', 400, "MALFORMED_REQUEST", {}),
    "a huge number": (b'{"instances": 1e999}', 422, "INVALID_REQUEST", {"field": "instances"}),
    "a huge number for an instance": (b'{"instances": [1e999]}', 422, "INVALID_REQUEST", {"index": 0}),
}

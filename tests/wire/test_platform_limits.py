"""Bodies of other platforms that are made to take long: each is refused for a moment's work, and no worker is lost."""

from __future__ import annotations

import json
import time
from functools import cache

import pytest

from bundles import NUMBERS, write_tree_bundle
from running import cpu_s, serving

JSON, CSV, LINES = "application/json", "text/csv", "application/jsonlines"


@cache
def names() -> bytes:
    return b",".join(map(b"c%d".__mod__, range(300_000)))


@cache
def members() -> bytes:
    return b",".join(map(b'"c%d":1'.__mod__, range(700_000)))


BODIES = {
    "digits before a letter": (CSV, lambda: b"1" * 200_000 + b"x,2,3\n", "INVALID_FEATURE"),
    "a fraction before a letter": (CSV, lambda: b"1." + b"1" * 200_000 + b"x,2,3\n", "INVALID_FEATURE"),
    "an exponent before a letter": (CSV, lambda: b"1e" + b"1" * 200_000 + b"x,2,3\n", "INVALID_FEATURE"),
    "a sign and a million digits": (CSV, lambda: b"+" + b"1" * 1_000_000 + b",2,3\n", "INVALID_FEATURE"),
    "names, one of them a feature": (CSV, lambda: b"x0," + names() + b"\n1,2,3\n", "FEATURE_COUNT"),
    "names, the last one twice": (CSV, lambda: b"x0," + names() + b",a,a\n1,2,3\n", "FEATURE_COUNT"),
    "commas": (CSV, lambda: b"," * 8_000_000, "FEATURE_COUNT"),
    "commas on the second line": (CSV, lambda: b"x0,x1,x2\n" + b"," * 8_000_000, "FEATURE_COUNT"),
    "as many names as a line may hold": (
        CSV,
        lambda: b"x0," + b",".join(b"%d" % n for n in range(1000)) + b",a,a\n",
        "INVALID_REQUEST",
    ),
    "columns, the last one twice": (
        JSON,
        lambda: b'{"dataframe_split":{"columns":["%b","a","a"],"data":[]}}' % names()[:600_000].replace(b",", b'","'),
        "INVALID_REQUEST",
    ),
    "members of the body": (JSON, lambda: b"{%b}" % members(), "INVALID_REQUEST"),
    "members of a data frame": (JSON, lambda: b'{"dataframe_split":{%b}}' % members(), "INVALID_REQUEST"),
    "members of a row": (JSON, lambda: b'{"instances":[{%b}]}' % members(), "FEATURE_COUNT"),
    "members of a list": (JSON, lambda: b"[{%b}]" % members(), "FEATURE_COUNT"),
    "members of a line": (LINES, lambda: b"{%b}" % members(), "FEATURE_COUNT"),
    "columns of no rows": (
        JSON,
        lambda: b'{"instances":[{%b}]}' % members()[:4_000_000].rpartition(b",")[0].replace(b":1", b":[]"),
        "FEATURE_COUNT",
    ),
    "short lines": (LINES, lambda: b"1\n" * 4_000_000, "BATCH_TOO_LARGE"),
    "blank lines": (LINES, lambda: b"\n" * 8_000_000, "EMPTY_BATCH"),
    "blank lines of CSV": (CSV, lambda: b"\n" * 4_000_000 + b"1,2,3", "BATCH_TOO_LARGE"),
}


def reading_s() -> float:
    """The processor time in which the standard library reads a body of many members."""
    body = b"{%b}" % members()
    before_s = time.process_time()
    json.loads(body)
    return time.process_time() - before_s


def check_refused_at_once(server, path, body, fields, code):
    """Refusing a body of many members takes less than 0.4 of the time of reading it; decoding them first takes more than half.

    The least of up to five turns counts: the clock of a processor may change between two measurements.
    """
    (worker,) = server.workers()
    reading, refusing = [], []
    for _ in range(5):
        before_s = cpu_s(worker)
        assert server.ask("POST", path, body, fields).code == code
        refusing.append(cpu_s(worker) - before_s)
        reading.append(reading_s())
        if min(refusing) < 0.4 * min(reading):
            break
    assert min(refusing) < 0.4 * min(reading), (refusing, reading)
    assert server.workers() == [worker]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    bundle = write_tree_bundle(tmp_path_factory.mktemp("limits") / "b", schema=NUMBERS)
    with serving(bundle, options=["--platform", "sagemaker"]) as server:
        yield server


@pytest.mark.parametrize("what", BODIES)
def test_a_body_made_to_take_long_is_refused_at_once(server, what):
    kind, made, code = BODIES[what]
    body = made()
    if what.startswith("members"):
        check_refused_at_once(server, "/invocations", body, [f"Content-Type: {kind}"], code)
        return
    (worker,) = server.workers()
    before_s = cpu_s(worker)
    answer = server.ask("POST", "/invocations", body, [f"Content-Type: {kind}"])
    assert answer.code == code
    assert server.workers() == [worker]
    assert cpu_s(worker) - before_s < 1.0


@pytest.mark.parametrize("has_names", [False, True], ids=["members", "names"])
def test_a_curve_of_too_many_values_is_refused_at_once(server, has_names):
    body = b'{"features":[1,2,3],"vary":["x0"%b]}' % (b',"x0"' * 1_000_000) if has_names else b"{%b}" % members()
    check_refused_at_once(server, "/curve", body, [], "FEATURE_COUNT")


def test_long_columns_by_name_are_answered(server):
    n = 4000
    columns = {name: list(range(n)) for name in NUMBERS.names}
    answer = server.ask("POST", "/invocations", {"inputs": columns}, [f"Content-Type: {JSON}"])
    assert answer.status == 200
    labels = {name: {str(row): row for row in range(n)} for name in NUMBERS.names}
    answer = server.ask("POST", "/v1/models/sample:predict", {"instances": [labels]}, [f"Content-Type: {JSON}"])
    assert answer.status == 200
    assert len(answer.json["predictions"]) == n


def test_lines_between_blank_ones_are_answered(server):
    body = b"\n \n[1, 2, 3]\r\n\n  [4, 5, 6]  \n\n"
    answer = server.ask("POST", "/invocations", body, ["Content-Type: application/jsonlines"])
    assert answer.status == 200
    assert answer.body.count(b"prediction") == 2

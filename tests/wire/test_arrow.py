"""Arrow bodies of `/predict/batch` over real sockets: the predictions of the native route, as JSON and as a stream."""

from __future__ import annotations

import gzip
import json

import pyarrow as pa
import pytest

from arrow_streams import ROWS, STREAMS, arrow_table, stream
from bundles import ALL_KINDS, NUMBERS, write_bundle, write_tree_bundle
from mlrf.core.bundle import LinkEntry
from mlrf.serving.auth.keys import make_key, write_keys
from running import eventually, serving

ARROW = "application/vnd.apache.arrow.stream"
CONTENT = f"Content-Type: {ARROW}"
ACCEPT = f"Accept: {ARROW}"
THREE = ["a", 'b"', "ü,d"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("arrow")


@pytest.fixture(scope="module")
def server(folder):
    two = {"task": "binary", "link": LinkEntry("sigmoid")}
    bundles = [
        write_tree_bundle(folder / "sample"),
        write_bundle(folder / "words", name="words", schema=ALL_KINDS, classes=["no", "yes"], **two),
        write_bundle(folder / "numbers", name="numbers", schema=ALL_KINDS, classes=[0, 7], **two),
        write_bundle(folder / "booleans", name="booleans", schema=ALL_KINDS, classes=[False, True], **two),
        write_bundle(
            folder / "three", name="three", schema=NUMBERS, task="multiclass", link=LinkEntry("softmax"), classes=THREE,
            n_outputs=3,
        ),
    ]  # fmt: skip
    (folder / "log").mkdir()
    options = ["--max-batch", "50", "--cache", "0", "--workers", "1", "--prediction-log", str(folder / "log")]
    with serving(*bundles, options=options) as running:
        yield running


def native(server, model, rows=ROWS):
    body = {"instances": [{"features": row} for row in rows]}
    answer = server.ask("POST", f"/models/{model}/predict/batch", body)
    assert answer.status == 200, answer.json
    return answer


@pytest.mark.parametrize("writer", STREAMS)
@pytest.mark.parametrize("model", ["sample", "words"])
def test_a_stream_is_answered_in_json_as_the_native_body(server, writer, model):
    expected = native(server, model)
    for _ in range(2):  # in the worker's thread, then on the event loop
        answer = server.ask("POST", f"/models/{model}/predict/batch", STREAMS[writer](), [CONTENT])
        assert (answer.status, answer.body) == (200, expected.body)


@pytest.mark.parametrize("model", ["sample", "words", "numbers", "booleans", "three"])
def test_a_stream_is_answered_with_a_stream_to_who_accepts_it(server, model):
    rows = [{"a": 1.5, "b": 2.0, "c": None}, {"a": -1.0, "b": 0.0, "c": 3.0}] if model == "three" else ROWS
    if model == "three":
        rows = [dict(zip(NUMBERS.names, row.values(), strict=True)) for row in rows]
    expected = native(server, model, rows).json
    content = stream(pa.Table.from_pylist(rows))
    answer = server.ask("POST", f"/models/{model}/predict/batch", content, [CONTENT, ACCEPT])
    assert (answer.status, answer.headers["content-type"]) == (200, ARROW)
    table = pa.ipc.open_stream(answer.body).read_all()
    table.validate(full=True)
    assert table["prediction"].to_pylist() == expected["predictions"]
    assert table.schema.metadata == {b"model": model.encode(), b"version": expected["version"].encode()}
    if model == "sample":
        assert table.column_names == ["prediction"]
    else:
        assert table["label"].to_pylist() == expected["labels"]
        assert table["probabilities"].to_pylist() == expected["probabilities"]


@pytest.mark.parametrize("model", ["sample", "words"])
def test_many_rows_leave_the_event_loop(server, model):
    rows = [row | {"depth": float(i)} for i in range(16) for row in ROWS]
    columns = {"x" * 40_000: "padding of the schema"}
    content = stream(pa.Table.from_pylist(rows).replace_schema_metadata(columns))
    assert len(content) > 64 << 10 or len(content) > 40_000
    for _ in range(2):
        answer = server.ask("POST", f"/models/{model}/predict/batch", content, [CONTENT])
        assert answer.body == native(server, model, rows).body


def test_a_stream_may_come_in_gzip(server):
    content = gzip.compress(stream(arrow_table()))
    headers = [CONTENT, "Content-Encoding: gzip"]
    answer = server.ask("POST", "/predict/batch", content, headers)
    assert answer.body == native(server, "sample").body
    for accept in (f"application/json, {ARROW};q=0.5", f"*/*, {ARROW};q=0"):
        assert server.ask("POST", "/predict/batch", content, [*headers, f"Accept: {accept}"]).body == answer.body
    answer = server.ask("POST", "/predict/batch", content, [CONTENT, "Content-Encoding: br"])
    assert (answer.status, answer.code) == (415, "UNSUPPORTED_MEDIA_TYPE")


def test_other_routes_and_types_are_refused_as_before(server):
    content = stream(arrow_table())
    assert server.ask("POST", "/predict", content, [CONTENT]).code == "UNSUPPORTED_MEDIA_TYPE"
    assert server.ask("POST", "/predict/batch", content, ["Content-Type: application/x-parquet"]).status == 415
    refused = server.ask("POST", "/predict/batch", b"no stream", [CONTENT, ACCEPT])
    assert (refused.status, refused.code, refused.headers["content-type"]) == (
        400,
        "MALFORMED_REQUEST",
        "application/json",
    )
    many = server.ask("POST", "/predict/batch", stream(pa.concat_tables([arrow_table()] * 17)), [CONTENT])
    assert (many.status, many.code) == (413, "BATCH_TOO_LARGE")


def test_instances_are_counted_and_logged_as_json(server, folder):
    def instances():
        return sum(n for name, n in server.metrics().items() if "mlrf_instances_total" in name and "sample" in name)

    before = instances()
    answer = server.ask("POST", "/predict/batch", stream(arrow_table()), [CONTENT, ACCEPT, "X-Request-ID: arrow-1"])
    assert answer.status == 200
    eventually(lambda: instances() == before + 3, what="the count")

    def logged():
        # What follows the last line end is a line that is being written.
        files = (file.read_bytes().split(b"\n")[:-1] for file in (folder / "log").glob("*.jsonl"))
        lines = [json.loads(line) for each in files for line in each]
        return next((line for line in lines if line["request_id"] == "arrow-1"), None)

    line = eventually(logged, what="the line in the log")
    assert line["request"]["instances"][0]["features"]["store"] == "süd"
    assert line["answer"]["predictions"] == native(server, "sample").json["predictions"]


def test_a_key_without_the_scope_explain_may_send_streams(folder):
    key, stored = make_key("p", ["predict"])
    write_keys(folder / "keys.txt", {stored.id: stored})
    with serving(folder / "sample", options=["--keys", str(folder / "keys.txt"), "--workers", "1"]) as guarded:
        headers = [CONTENT, f"Authorization: Bearer {key}"]
        assert guarded.ask("POST", "/predict/batch", stream(arrow_table()), headers).status == 200
        assert guarded.ask("POST", "/predict/batch", stream(arrow_table()), [CONTENT]).status == 401

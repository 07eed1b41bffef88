"""Each HTTP error that a lower package raises, or that advises no request by its usual words: what it advises is answered."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from advice import refusals
from arrow_streams import stream
from bundles import NUMBERS, write_tree_bundle
from followed_remedies import ELSEWHERE as FOLLOWED_ELSEWHERE
from followed_remedies import ROUTES as FOLLOWED
from followed_remedies import pattern_of
from raw_http import Answer, Client
from running import serving

TESTS = Path(__file__).parents[1]
PACKAGES = ("core", "engines", "features", "model", "serving")
ROW = [1.0, 2.0, 3.0]
NAMED = dict(zip(NUMBERS.names, ROW, strict=True))
MANY = [1.0] * 40_000
"""As many values as only the strict parser reads."""
ADMIN = "admin:"
Request = tuple[str, str, Any, str]
LOAD = "/v2/repository/models/sales/load"


def post(path: str, body: Any, header: str = "Content-Type: application/json") -> Request:
    return "POST", path, body, header


def predict(body: Any) -> Request:
    return post("/models/sales/predict", body)


def batch(body: Any) -> Request:
    return post("/models/sales/predict/batch", body)


def curve(vary: str, features: Any = NAMED) -> Request:
    return post("/models/sales/curve", {"features": features, "vary": vary})


def infer(model: str) -> Request:
    one = {"name": "features", "datatype": "FP64", "shape": [1, 3], "data": ROW}
    return post(f"/v2/models/{model}/infer", {"inputs": [one]})


def csv(text: bytes) -> Request:
    return post("/models/sales/invocations", text, "Content-Type: text/csv")


def arrow(names: list[str], n_rows: int = 1) -> Request:
    table = pa.table([pa.array([1.0] * n_rows, pa.float64())] * len(names), names=names)
    return post("/models/sales/predict/batch", stream(table), "Content-Type: application/vnd.apache.arrow.stream")


GOOD = predict({"features": NAMED})
MODELS: Request = ("GET", "/models", b"", "A: b")
FOLLOWED_HERE: dict[str, tuple[Request, Request]] = {
    "missing {} {}; send every feature": (predict({"features": {"x0": 1}}), GOOD),
    "unknown {} {}; {} lists the features; leave it out": (predict({"features": NAMED | {"zz": 1}}), GOOD),
    "values in schema order, got {}; {} lists the features, or": (predict({"features": [1]}), GOOD),
    "a curve cannot vary {}, which is not a feature": (curve("zz"), curve("x0")),
    "native/strict_parser.py expected {} features, got about": (predict({"features": MANY}), MODELS),
    "native/curve_handler.py expected {} features, got about": (curve("x0", MANY), MODELS),
    "instance {}: expected {} features, got about": (batch({"instances": [{"features": MANY}]}), MODELS),
    "several rows go to /predict/batch": (predict([ROW, ROW]), batch([ROW, ROW])),
    "its members are columns, data and index": (
        post("/models/sales/invocations", {"dataframe_split": {"columns": ["x0", "x1", "x2"], "data": [ROW], "zz": 1}}),
        post("/models/sales/invocations", {"dataframe_split": {"columns": ["x0", "x1", "x2"], "data": [ROW]}}),
    ),
    "columns must be names, not": (
        post("/models/sales/invocations", {"dataframe_split": {"columns": [4, 5, 6], "data": [ROW]}}),
        post("/models/sales/invocations", {"dataframe_split": {"columns": [0, 1, 2], "data": [ROW]}}),
    ),
    "no route has this path": (post("/predictions", {}), ("GET", "/docs", b"", "A: b")),
    "the admin listener has no route with this path": (
        ("GET", ADMIN + "/nothing", b"", "A: b"),
        ("GET", ADMIN + "/admin/models", b"", "A: b"),
    ),
    "names no model: {} are served": (
        post("/invocations", {"instances": [ROW]}),
        post("/models/sales/invocations", {"instances": [ROW]}),
    ),
    "no model named {} is served; the server has": (infer("nobody"), infer("sales")),
    "but the server has no keys; start it with --keys, or send": (
        post(LOAD, {}),
        post(ADMIN + "/admin/models/sales/load", {}),
    ),
    "would change the model from its bundle": (
        post(ADMIN + LOAD, {"parameters": {"config": "{}"}}),
        post(ADMIN + LOAD, {"parameters": {}}),
    ),
    "the header of the CSV body has {} twice": (csv(b"x0,x0,x1,x2\n1,1,2,3\n"), csv(b"x0,x1,x2\n1,2,3\n")),
    "the header of the CSV body lacks": (csv(b"x0,x1\n1,2\n"), csv(b"x0,x1,x2\n1,2,3\n")),
    "the body must have exactly one of": (
        post("/models/sales/invocations", {"instances": [ROW], "inputs": [ROW]}),
        post("/models/sales/invocations", {"instances": [ROW]}),
    ),
    "there are {} for the feature {}; keep one": (arrow(["x0", "x1", "x2", "x0"]), arrow(["x0", "x1", "x2"])),
    "the stream contains no rows": (arrow(["x0", "x1", "x2"], 0), arrow(["x0", "x1", "x2"])),
    "the key has no field {} in this model": (predict({"key": {"id": 1, "no": 2}}), predict({"key": {"id": 1}})),
    "the key lacks the field": (predict({"key": {}}), predict({"key": {"id": 1}})),
}
"""By a part of the message, which names one message of the source."""

ELSEWHERE = {
    "the admin port takes requests to localhost": "wire/test_access.py",
    "the admin port takes no requests of web pages": "wire/test_access.py",
    "numbers with exponents beyond": "unit/serving/runtime/test_slow_numbers.py",
    "that one curve of this model may have": "wire/test_curves.py",
    "is a graph of operators and has no thresholds": "wire/test_curves.py",
    "has linear leaves": "parity/test_linear_trees.py",
    "the engine {} does not know the thresholds": "unit/model/test_curve.py",
    "takes no base_margin": "wire/test_leaves_and_base_margins.py",
    "request explanations without interactions": "parity/test_interactions.py",
    "explain at most {} rows at once": "parity/test_interactions.py",
    "is not a finite number": "wire/test_predicting.py",
    "cannot explain; use the engine trees": "unit/model/test_tables.py",
    "which cannot be explained": "parity/test_onnx_graphs.py",
    "not linear, so their Shapley values": "parity/test_meta_estimators.py",
    "adds multiples of the row's own numbers": "parity/test_meta_estimators.py",
    "the number of training rows per branch": "parity/test_onnx_files.py",
    "give fewer rows, or leave background out": "unit/model/test_background.py",
    "the background has no rows": "unit/model/test_background.py",
    "has no {}; build it again with --{}": "unit/model/test_background.py",
    "is not a valid row": "wire/test_forged_rows.py",
    "has another value in the features": "wire/test_by_key.py",
    "a push of {} rows would block": "wire/test_shared_rows.py",
    "another process is loading rows": "wire/test_shared_rows.py",
    "the store has lost rows during the load": "wire/test_shared_rows.py",
    "the key is longer than": "wire/test_by_key.py",
    "it has {}": "wire/test_platforms.py",
    "the model {} is unloaded; load it again": "ops/test_unload.py",
    "passed its checks when the server started": "ops/test_start_checks.py",
    "served without rows by key; build its bundle": "wire/test_option_remedies.py",
    "this server needs a key": "wire/test_access.py",
    "the request head contains a bare": "wire/test_http_refusals.py",
    "is a group, and a feature that is in no group": "unit/model/test_feature_groups.py",
    "a feature has one group": "unit/model/test_feature_groups.py",
    "as one combination, which is one player": "parity/test_catboost_ctr.py",
    "is too large to draw": "unit/model/drawing",
    "is not a feature of the model; drop it, or {}": "unit/model/test_tables.py",
    "convert it to numbers, strings or booleans": "unit/model/test_tables.py",
    "is one column or one row, not a table; give a table": "unit/model/test_weird_rows.py",
    "one row is a list with one list of values": "unit/model/test_tables.py",
    "unknown member {} in the request body; {}": "unit/serving/native/test_natural_bodies.py",
    "is empty; its first line must name the columns": "unit/scoring/test_text_cells.py",
    "is longer than 1 MB; keep those that the model needs": "unit/scoring/test_odd_inputs.py",
    "try again later": "wire/test_overload.py",
}
"""Messages that need a model, a store or a load of another kind, and tests that meet them."""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Two models, one of them with a row by key, and none the default."""
    folder = tmp_path_factory.mktemp("lower")
    bundles = [
        write_tree_bundle(folder / "sales", name="sales", schema=NUMBERS, key={"id": "integer"}),
        write_tree_bundle(folder / "other", name="other", schema=NUMBERS),
    ]
    options = ["--admin", f"unix:{folder / 'admin.sock'}", "--state-dir", str(folder / "state")]
    with serving(*bundles, options=options) as running, Client(folder / "admin.sock") as admin:
        row = {"key": {"id": 1}, "features": NAMED}
        assert admin.ask("POST", "/admin/models/sales/features", {"rows": [row]}).status == 200
        yield SimpleNamespace(server=running, admin=folder / "admin.sock")


def ask(server: Any, request: Request) -> Answer:
    method, path, body, header = request
    if path.startswith(ADMIN):
        with Client(server.admin) as client:
            return client.ask(method, path.removeprefix(ADMIN), body, [header])
    return server.server.ask(method, path, body, [header])


@pytest.mark.parametrize("part", FOLLOWED_HERE)
def test_what_an_error_advises_is_answered(server, part):
    refused, advised = FOLLOWED_HERE[part]
    answer = ask(server, refused)
    assert 400 <= answer.status < 500
    assert pattern_of(part).search(answer.json["error"]), answer.json["error"]
    answer = ask(server, advised)
    assert answer.status == 200, answer.body


def test_every_refusal_that_advises_something_is_followed():
    parts = [part.rpartition(".py ")[2] for part in (*FOLLOWED_HERE, *ELSEWHERE, *FOLLOWED, *FOLLOWED_ELSEWHERE)]
    found = refusals(*PACKAGES)
    assert len(found) > 100
    assert {text: path for text, path in found.items() if not any(part in text for part in parts)} == {}


@pytest.mark.parametrize("path", sorted({*ELSEWHERE.values(), *FOLLOWED_ELSEWHERE.values()}))
def test_named_tests_exist(path):
    assert (TESTS / path).exists()

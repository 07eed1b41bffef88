"""Natural bodies over real sockets: the answers are those of canonical bodies, byte for byte; `--strict` refuses them."""

from __future__ import annotations

import json

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from msgspec.structs import replace

import mlrf
from arrow_streams import stream
from bundles import ALL_KINDS, write_tree_bundle
from mlrf.client import Client
from mlrf.core.errors import MissingFeatureError
from mlrf.core.schema import Schema
from running import serving

ROW = {"price": 9.5, "count": 3, "promo": True, "store": "süd", "size": 20, "code": 7, "depth": 0.25}
FLOATS = ROW | {"count": 3.0, "promo": 1.0, "size": 20.0, "code": 7.0}
CODED = [9.5, 3, True, 1, 1, 7, 0.25]
NAMING = [9.5, 3.0, 1, "süd", 1.0, 7.0, 0.25]
ONE = {
    "a bare object": ROW,
    "a bare object of floats": FLOATS,
    "names in an array": {"features": NAMING},
    "floats by name": {"features": FLOATS},
}
DEFAULTS = {"promo": True, "store": "süd"}
MANY = {
    "objects": [ROW, FLOATS],
    "objects as instances": {"instances": [FLOATS, ROW]},
    "columns": {"columns": list(FLOATS), "data": [list(FLOATS.values())] * 2},
    "names in arrays": {"instances": [{"features": NAMING}] * 2},
    "columns by name": {name: [value, value] for name, value in ROW.items()},
    "columns by name and row": {name: {"0": value, "1": value} for name, value in FLOATS.items()},
    "columns as instances": {"instances": {name: [value, value] for name, value in FLOATS.items()}},
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_tree_bundle(tmp_path_factory.mktemp("natural") / "sample", schema=ALL_KINDS)


@pytest.fixture(scope="module")
def optional(tmp_path_factory):
    schema = Schema(
        tuple(
            replace(f, optional=f.name in ("promo", "store"), default=DEFAULTS.get(f.name)) for f in ALL_KINDS.features
        )
    )
    return write_tree_bundle(tmp_path_factory.mktemp("optional") / "optional", name="optional", schema=schema)


@pytest.fixture(scope="module")
def server(bundle, optional):
    with serving(bundle, optional, options=["--cache", "0", "--workers", "1"]) as running:
        yield running


@pytest.fixture(scope="module")
def strict(bundle):
    with serving(bundle, options=["--strict", "--workers", "1"]) as running:
        yield running


@pytest.mark.parametrize("route", ["/predict", "/explain"])
@pytest.mark.parametrize("form", ONE)
def test_a_natural_row_is_answered_as_the_canonical_one(server, route, form):
    expected = server.ask("POST", route, {"features": CODED})
    answer = server.ask("POST", route, ONE[form])
    assert (answer.status, answer.body) == (200, expected.body)


@pytest.mark.parametrize("form", MANY)
@pytest.mark.parametrize("padding", [0, 20_000], ids=["fast", "off the loop"])
def test_a_natural_batch_is_answered_as_the_canonical_one(server, form, padding):
    expected = server.ask("POST", "/predict/batch", {"instances": [{"features": CODED}] * 2})
    answer = server.ask("POST", "/predict/batch", json.dumps(MANY[form]).encode() + b" " * padding)
    assert (answer.status, answer.body) == (200, expected.body)


@pytest.mark.parametrize("form", [*ONE, *MANY])
def test_a_strict_server_refuses_natural_bodies(strict, form):
    many = form in MANY
    answer = strict.ask("POST", "/predict/batch" if many else "/predict", MANY[form] if many else ONE[form])
    if form == "floats by name":
        assert answer.code == "INVALID_FEATURE", "1.0 for a boolean"
    assert answer.status == 422
    assert strict.ask("POST", "/predict", {"features": CODED}).status == 200


def test_ambiguous_number_in_a_bare_array_is_refused(server):
    answer = server.ask("POST", "/predict", CODED)
    assert (answer.status, answer.code, answer.json["details"]["feature"]) == (422, "INVALID_FEATURE", "size")


def test_non_json_token_is_refused_with_the_remedy(server):
    for body in (b"[NaN]", b'{"price": NaN}', b"[[1, Infinity]]"):
        answer = server.ask("POST", "/predict", body)
        assert (answer.status, answer.code) == (400, "MALFORMED_REQUEST")
        assert "send null" in answer.json["error"]


def test_absent_features_use_defaults_and_are_named(server):
    given = {name: value for name, value in ROW.items() if name not in DEFAULTS}
    whole = server.ask("POST", "/models/optional/predict", {"features": ROW}).json
    assert "defaults" not in whole
    for body in ({"features": given}, given):
        answer = server.ask("POST", "/models/optional/predict", body).json
        assert answer == whole | {"defaults": DEFAULTS}
    batch = server.ask(
        "POST", "/models/optional/predict/batch", {"instances": [{"features": given}, {"features": ROW}]}
    ).json
    assert batch["predictions"] == [whole["prediction"]] * 2
    assert batch["defaults"] == [DEFAULTS, None]
    explained = server.ask("POST", "/models/optional/explain", given).json
    assert explained["defaults"] == DEFAULTS
    refused = server.ask("POST", "/models/optional/predict", {"features": {}})
    assert "promo" not in refused.json["details"]["missing"]
    described = {each["name"]: each for each in server.ask("GET", "/models").json["models"]}["optional"]
    assert {f["name"]: f["default"] for f in described["features"] if "default" in f} == DEFAULTS


def test_the_client_sends_defaults_for_absent_features(server, optional):
    given = {name: value for name, value in ROW.items() if name not in DEFAULTS}
    expected = mlrf.load(optional).predict([ROW])
    with Client(f"http://127.0.0.1:{server.port}", model="optional") as client:
        for rows in (pd.DataFrame([given]), pl.DataFrame([given]), [given]):
            assert list(client.predict(rows)) == list(expected)
        assert client.predict(given) == expected[0]
        with pytest.raises(MissingFeatureError, match="price"):
            client.predict(pd.DataFrame([given]).drop(columns="price"))


def test_a_stream_without_optional_columns_uses_defaults_and_names_them(server):
    given = [{name: value for name, value in ROW.items() if name not in DEFAULTS}] * 2
    path, content = "/models/optional/predict/batch", stream(pa.Table.from_pylist(given))
    arrow = "application/vnd.apache.arrow.stream"
    expected = server.ask("POST", path, {"instances": [{"features": row} for row in given]}).json
    for _ in range(2):  # in the worker's thread, then on the event loop
        answer = server.ask("POST", path, content, [f"Content-Type: {arrow}"])
        assert answer.json == expected
    whole = server.ask("POST", path, stream(pa.Table.from_pylist([ROW])), [f"Content-Type: {arrow}"])
    assert "defaults" not in whole.json
    table = pa.ipc.open_stream(
        server.ask("POST", path, content, [f"Content-Type: {arrow}", f"Accept: {arrow}"]).body
    ).read_all()
    assert table["prediction"].to_pylist() == expected["predictions"]
    assert json.loads(table.schema.metadata[b"defaults"]) == DEFAULTS


FRAME = pd.DataFrame([ROW, ROW | {"price": None, "store": "east"}])


@pytest.mark.parametrize(
    "body",
    [
        FRAME.to_json(),
        FRAME.to_json(orient="records"),
        FRAME.to_json(orient="split"),
        pl.from_pandas(FRAME).write_json(),
        json.dumps(pl.from_pandas(FRAME).to_dict(as_series=False)),
    ],
)
def test_frames_as_pandas_and_polars_write_them_are_batches(server, body):
    rows = [{"features": ROW}, {"features": ROW | {"price": None, "store": "east"}}]
    expected = server.ask("POST", "/predict/batch", {"instances": rows})
    assert server.ask("POST", "/predict/batch", body.encode()).body == expected.body


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/predict/batch", {"price": [1.0, 2.0], "promo": [True]}, "differ in length"),
        ("/predict", {"MedInc": 3}, 'unknown member "MedInc" in the request body: a request is'),
        ("/predict/batch", {"rows": []}, 'unknown member "rows" in the request body: a batch is'),
        ("/predict/batch", ROW, "; a single row goes to /predict"),
        ("/predict/batch", {"features": ROW}, "; a single row goes to /predict"),
        (
            "/predict/batch",
            NAMING,
            "an instance must be an object or an array of 7 values, not a number; a single row goes",
        ),
        ("/predict/batch", [None], "an instance must be an object or an array of 7 values, not null"),
        ("/predict", b"3", "the body must be an object or an array of 7 values, not a number"),
        ("/predict", {"features": [[1.0]]}, "several rows go to /predict/batch"),
        ("/predict", {"instances": [ROW]}, "several rows go to /predict/batch"),
        ("/predict", {"Price": 1.0}, 'the feature is "price"'),
        ("/predict", json.dumps(json.dumps(ROW)).encode(), "encoded as JSON twice"),
        ("/predict/batch", b'{"price": 1}\n{"price": 2}', "JSON lines, in an array"),
        ("/predict", b"\xef\xbb\xbf{}", "byte order mark"),
        ("/predict", "{}".encode("utf-16"), "byte order mark"),
        ("/predict/", ROW, "without the slash"),
    ],
)
def test_common_mistakes_are_refused_with_the_remedy(server, path, body, message):
    answer = server.ask("POST", path, body)
    assert 400 <= answer.status < 500
    assert message in answer.json["error"]


def test_csv_for_a_native_route_is_referred_to_invocations(server):
    answer = server.ask("POST", "/predict/batch", b"price\n1\n", headers=["Content-Type: text/csv"])
    assert answer.status == 415
    assert "CSV goes to /invocations" in answer.json["error"]

"""Response curves over real sockets: every form of a row, what is refused, and that the numbers are `Model.curve`'s."""

from __future__ import annotations

import contextlib
import json

import pytest

import mlrf
from api_keys import mlrf_keys
from bundles import ALL_KINDS, NUMBERS, rows_of, write_bundle, write_tree_bundle
from contract_validation import validator
from mlrf.core.manifest import LinkEntry
from raw_http import Client, request
from running import eventually, serving

EXAMPLE = ALL_KINDS.example()
KEY = {"id": "integer"}


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("curves")
    three = {"schema": NUMBERS, "n_outputs": 3, "task": "multiclass", "classes": ["low", 1, "high"]}
    return {
        "trees": write_tree_bundle(folder / "trees", name="trees", key=KEY),
        "three": write_tree_bundle(folder / "three", name="three", link=LinkEntry("softmax"), **three),
        "large": write_tree_bundle(folder / "large", name="large", schema=NUMBERS, n_trees=60, max_leaves=12),
        "long": write_tree_bundle(folder / "long", name="long", schema=NUMBERS, n_trees=200, max_leaves=30),
        "huge": write_tree_bundle(folder / "huge", name="huge", schema=NUMBERS, n_trees=400, max_leaves=40),
        "stumps": write_bundle(folder / "stumps", name="stumps"),
    }


@pytest.fixture(scope="module")
def models(paths):
    return {name: mlrf.load(path) for name, path in paths.items()}


@pytest.fixture(scope="module")
def running(paths, tmp_path_factory):
    folder = tmp_path_factory.mktemp("state")
    options = ["--state-dir", str(folder / "state"), "--admin", f"unix:{folder / 'admin.sock'}"]
    with serving(*paths.values(), options=options) as server:
        with Client(folder / "admin.sock") as admin:
            rows = [{"key": {"id": 1}, "features": EXAMPLE, "as_of": "2026-02-01T00:00:00Z"}]
            assert admin.ask("POST", "/admin/models/trees/features", {"rows": rows}).status == 200
        yield server


@pytest.fixture
def server(running):
    yield running
    assert running.is_ready()
    assert running.troubles == []


def expected(model, row, vary):
    curve = model.curve(row, vary)
    axes = [{"feature": a.feature, "kind": a.kind, "cuts": a.cuts, "values": a.values, "at": a.at} for a in curve.axes]
    return {"axes": axes, "margins": curve.margins, "predictions": curve.predictions}


@pytest.mark.parametrize("vary", ["price", "store", ["promo"], ["count", "store"]])
@pytest.mark.parametrize("form", ["named", "by position", "by key", "spaced"])
def test_every_form_of_a_row_has_the_curve_of_the_model(server, models, form, vary):
    model = models["trees"]
    codes = [9.5, 3, True, 1, 1, 7, 0.25]
    body = {
        "named": {"features": EXAMPLE, "vary": vary},
        "by position": {"features": codes, "vary": vary},
        "by key": {"key": {"id": 1}, "vary": vary},
        "spaced": {"vary": vary, "features": EXAMPLE, "unknown_categories": "refuse"},
    }[form]
    content = json.dumps(body, indent=3).encode() if form == "spaced" else body
    answer = server.ask("POST", "/models/trees/curve", content)
    assert answer.status == 200, answer.json
    found = answer.json
    assert {name: found[name] for name in ("axes", "margins", "predictions")} == expected(model, EXAMPLE, vary)
    assert found["model"] == "trees"
    assert ("features_as_of" in found) == (form == "by key")


def test_default_model_overrides_and_features(server, models):
    body = {"key": {"id": 1}, "overrides": {"price": None}, "vary": "price", "return_features": True}
    found = server.ask("POST", "/curve", body).json
    row = {**EXAMPLE, "price": None}
    assert found["features"] == row
    assert found["axes"][0]["values"][found["axes"][0]["at"]] is None
    assert found["predictions"] == models["trees"].curve(row, "price").predictions


def test_classes_have_labels_and_lists_of_margins(server, models):
    row = {"x0": 0.5, "x1": -1.0, "x2": None}
    found = server.ask("POST", "/models/three/curve", {"features": row, "vary": "x1"}).json
    model = models["three"]
    assert found["margins"] == model.curve(row, "x1").margins
    assert found["labels"] == [rows_of(model).label_of(each) for each in found["predictions"]]


def test_large_grid_is_made_off_the_loop_and_kept(server, models):
    body = {"features": [0.5, 0.5, 0.5], "vary": ["x0", "x1"]}
    first, again = (server.ask("POST", "/models/large/curve", body).json for _ in range(2))
    assert (first["cached"], again["cached"]) == (False, True)
    curve = models["large"].curve([0.5, 0.5, 0.5], ["x0", "x1"])
    assert len(curve.margins) > 200
    assert first["margins"] == again["margins"] == curve.margins


def test_long_body_is_read_off_the_loop(server, models):
    padded = b'{"vary": "price", %b"features": %b}' % (b" " * 20_000, json.dumps(EXAMPLE).encode())
    found = server.ask("POST", "/models/trees/curve", padded).json
    assert found["margins"] == models["trees"].curve(EXAMPLE, "price").margins
    by_key = b'{"vary": "price", %b"key": {"id": 1}}' % (b" " * 20_000)
    assert server.ask("POST", "/models/trees/curve", by_key).json["margins"] == found["margins"]


@pytest.mark.parametrize(
    ("body", "status", "code", "text"),
    [
        ({"features": EXAMPLE}, 422, "INVALID_REQUEST", 'no "vary"; send the name of a feature'),
        ({"features": EXAMPLE, "vary": 3}, 422, "INVALID_REQUEST", "vary must be the name of a feature or an array"),
        ({"features": EXAMPLE, "vary": [["a"]]}, 422, "INVALID_REQUEST", "vary must be the name of a feature or an"),
        (
            {"features": EXAMPLE, "vary": "cost"},
            422,
            "UNKNOWN_FEATURE",
            '"cost", which is not a feature of trees; GET /m',
        ),
        ({"features": EXAMPLE, "vary": ["price", "price"]}, 422, "INVALID_REQUEST", "or two different ones"),
        ({"features": EXAMPLE, "vary": "price", "explain": 3}, 422, "INVALID_REQUEST", "a curve has no explanation"),
        (
            {"features": EXAMPLE, "vary": "price", "more": 3},
            422,
            "INVALID_REQUEST",
            'unknown member "more" in the request body',
        ),
        ({"features": EXAMPLE | {"price": "x"}, "vary": "price"}, 422, "INVALID_FEATURE", "feature 'price'"),
        ({"key": {"id": 9}, "vary": "price"}, 404, "KEY_NOT_FOUND", "no row is stored"),
        (b"[1]", 422, "INVALID_REQUEST", "the body must be a JSON object"),
        (b'{"vary": "price"', 400, "MALFORMED_REQUEST", "not JSON"),
    ],
)
def test_what_is_refused_says_why(server, body, status, code, text):
    answer = server.ask("POST", "/models/trees/curve", body)
    assert (answer.status, answer.code) == (status, code)
    assert text in answer.json["error"]


def test_model_of_another_engine_has_no_thresholds(server):
    answer = server.ask("POST", "/models/stumps/curve", {"features": EXAMPLE, "vary": "price"})
    assert (answer.status, answer.code) == (422, "NO_THRESHOLDS")


def test_grid_over_the_limit_names_it(server):
    body = {"features": [0.5, 0.5, 0.5], "vary": ["x0", "x1"]}
    answer = server.ask("POST", "/models/huge/curve", body)
    assert (answer.status, answer.code) == (413, "BATCH_TOO_LARGE")
    assert "more than the 100000 that one curve of this model may have; vary one feature" in answer.json["error"]
    assert server.ask("POST", "/models/huge/curve", body | {"vary": "x0"}).status == 200


def test_openapi_describes_bodies_and_answers(server):
    document = server.ask("GET", "/openapi.json").json
    for name, body in [
        ("trees", {"features": EXAMPLE, "vary": ["price", "store"]}),
        ("three", {"features": [0.5, None, 1.0], "vary": "x0"}),
    ]:
        operation = document["paths"][f"/models/{name}/curve"]["post"]
        content = operation["requestBody"]["content"]["application/json"]
        validator(document, content["schema"]).validate(body)
        validator(document, content["schema"]).validate(content["example"])
        answered = operation["responses"]["200"]["content"]["application/json"]["schema"]
        validator(document, answered).validate(server.ask("POST", f"/models/{name}/curve", body).json)


def test_python_client_returns_the_models_curve(server, models):
    from mlrf.client import Client as PythonClient  # noqa: PLC0415  NumPy, which the other tests need not import

    with PythonClient(f"http://127.0.0.1:{server.port}", model="trees") as client:
        assert client.curve(EXAMPLE, "price") == models["trees"].curve(EXAMPLE, "price")
        stored = client.curve({"key": {"id": 1}, "overrides": {"promo": None}}, ["promo", "store"])
        assert stored == models["trees"].curve({**EXAMPLE, "promo": None}, ["promo", "store"])


def test_requests_are_counted_by_route_and_model(server):
    name = "mlrf_requests_total;model=trees;route=/curve;status=200"
    before = server.metrics().get(name, 0)
    server.ask("POST", "/models/trees/curve", {"features": EXAMPLE, "vary": "price"})
    assert server.metrics()[name] == before + 1


def test_key_of_scope_predict_suffices(paths, tmp_path):
    keys = tmp_path / "keys.txt"
    made = {}
    for scope in ("predict", "explain"):
        made[scope] = mlrf_keys(keys, "--add", scope, "--scope", scope)[1].split()[-1]
    body = {"features": EXAMPLE, "vary": "price"}
    with serving(paths["trees"], options=["--keys", str(keys), "--state-dir", str(tmp_path / "state")]) as guarded:
        statuses = {
            scope: guarded.ask("POST", "/curve", body, [f"Authorization: Bearer {key}"]).status
            for scope, key in made.items()
        }
        assert statuses == {"predict": 200, "explain": 403}
        assert guarded.ask("POST", "/curve", body).status == 401


def test_grids_whose_clients_have_left_are_not_computed(paths):
    """A page gives up the grid of a row that has changed."""
    n_superseded = 30

    def grid(x: float) -> bytes:
        return request("POST", "/curve", {"features": dict.fromkeys(NUMBERS.names, x), "vary": ["x0", "x1"]})

    def computed(server) -> float:
        return server.metrics().get("mlrf_requests_total;route=/curve;status=200", 0.0)

    def are_few_computed(server) -> bool:
        """Of the grids behind a first one; a busy machine may delay the client until the worker has computed them all."""
        before = computed(server)
        with server.client() as first, contextlib.ExitStack() as opened:
            first.send(grid(0.0))
            for i in range(n_superseded):
                opened.enter_context(server.client()).send(grid(0.01 * (i + 1)))
            opened.close()
            assert first.answer().status == 200
        eventually(lambda: server.metrics()["mlrf_open_connections"] == 1, what="the connections gone")
        with server.client() as last:
            last.send(grid(0.9))
            assert last.answer().status == 200
        return computed(server) - before < 2 + n_superseded / 2

    with serving(paths["long"], options=["--cache", "0"]) as server:
        eventually(lambda: are_few_computed(server), what="grids that were not computed")
        assert server.troubles == []

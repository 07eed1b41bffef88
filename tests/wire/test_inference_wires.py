"""One model under every form of the protocol: the native API's numbers to the bit, the same refusals, look-ups and scopes."""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from google.protobuf import json_format

from bundles import ALL_KINDS, write_tree_bundle
from grpc_peer import Peer, address_of
from inference_rows import N_ROWS, ROW, a_tensor_a_feature, native, one_tensor, some_rows
from inference_wires import CODES, GrpcWire, ParsedRequest, Tensor, wires
from mlrf.core.manifest import LinkEntry
from mlrf.serving.auth.keys import make_key, write_keys
from mlrf.serving.oip.grpc.message_types import message
from raw_http import Client
from running import serving

WIRES = ("REST, JSON", "REST, binary", "gRPC, values", "gRPC, raw")
MODELS = ("sample", "binary", "three")
KEY = {"shop": "string", "sku": "integer", "open": "boolean"}
EXAMPLE = ALL_KINDS.example()
GROUPS = {"outer": [ALL_KINDS.names[0], ALL_KINDS.names[4]]}
BACKGROUND = [[*ALL_KINDS.row(EXAMPLE)[:6], depth] for depth in (-1.0, 0.0, 0.1, 2.0)]
MOST_ROWS, MOST_BYTES = 500, 200_000


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A server of models of different kinds, also by key; tests do not change it."""
    folder = tmp_path_factory.mktemp("wires")
    classifier = {"task": "binary", "link": LinkEntry("sigmoid"), "classes": ["no", "yes"]}
    three = {"task": "multiclass", "link": LinkEntry("softmax"), "classes": [0, 1, "other"], "n_outputs": 3}
    paths = [
        write_tree_bundle(folder / "sample", key=KEY, background=BACKGROUND, groups=GROUPS),
        write_tree_bundle(folder / "binary", name="binary", seed=10, predict_returns="label", **classifier),
        write_tree_bundle(folder / "three", name="three", seed=9, background=BACKGROUND, groups=GROUPS, **three),
    ]
    made = {name: make_key(name, name.split("+")) for name in ("predict", "predict+explain", "admin")}
    write_keys(folder / "keys", {line.id: line for _, line in made.values()})
    options = ["--grpc-port", "0", "--state-dir", str(folder / "state"), "--admin", f"unix:{folder / 'admin.sock'}"]
    options += ["--max-infer-rows", str(MOST_ROWS), "--max-body-bytes", str(MOST_BYTES)]
    with (
        serving(*paths, options=options) as server,
        serving(*paths, options=[*options[:2], "--keys", str(folder / "keys")]) as guarded,
    ):
        pids = server.workers(), guarded.workers()
        server.admin = folder / "admin.sock"
        guarded.keys = {name: key for name, (key, _) in made.items()}
        yield server, guarded
        assert (server.workers(), guarded.workers()) == pids, "a worker died"
        assert server.troubles == guarded.troubles == []


@pytest.fixture(scope="module")
def server(served):
    return served[0]


@pytest.fixture(scope="module")
def ways(server):
    with Peer(address_of(server)) as peer:
        yield wires(server, peer)


@pytest.fixture(scope="module")
def guarded_ways(served):
    with Peer(address_of(served[1])) as peer:
        yield wires(served[1], peer)


@pytest.fixture(params=WIRES)
def wire(request, ways):
    return ways[request.param]


@pytest.mark.parametrize("datatype", CODES)
def test_every_datatype_and_form_equals_the_native_api(server, wire, datatype):
    rows = some_rows(datatype)
    expected = native(server, rows)["predictions"]
    assert len(set(expected)) > (3 if datatype != "BOOL" else 1)
    for inputs in (
        one_tensor(rows, datatype),
        a_tensor_a_feature(rows, datatype),
        a_tensor_a_feature(rows, datatype, shape=(1,), order=-1),
    ):
        response = wire.infer(ParsedRequest(inputs, id="seven"))
        assert response.error == ""
        assert response.outputs == {"prediction": expected}
        assert response.shapes == {"prediction": [N_ROWS]}
        assert response.id == "seven"


@pytest.mark.parametrize("model", MODELS)
def test_every_output_is_the_native_apis(server, wire, model):
    rows = some_rows("FP64", 12)
    expected = native(server, rows, model, explain=True)
    names = ["shap_values", "shap_base", "prediction"] + (["probabilities"] if model != "sample" else [])
    got = wire.infer(ParsedRequest(one_tensor(rows, "FP64"), model, outputs=names))
    assert got.error == ""
    assert list(got.outputs) == names
    assert got.parameters == {"bundle_version": expected["version"]}
    outputs = {
        "prediction": flat(expected["predictions"]),
        "shap_values": [x for each in expected["explanations"] for x in contributions(each, model)],
        "shap_base": flat([bases(expected["explanations"][0], model)]),
    }
    if model != "sample":
        outputs["probabilities"] = flat(expected["probabilities"])
    assert got.outputs == {name: outputs[name] for name in names}
    k = [3] if model == "three" else []
    assert got.shapes["shap_values"] == [12, 7, *k]
    assert got.shapes["prediction"] == [12, *k]
    # Without named outputs the first one is returned, and no explanations.
    assert list(wire.infer(ParsedRequest(one_tensor(rows, "FP64"), model)).outputs) == [
        names[-1] if k else "prediction"
    ]


@pytest.mark.parametrize("model", ["sample", "three"])
def test_explanations_against_the_background_are_the_native_apis(server, wire, model):
    rows = some_rows("FP64", 5)
    against = ParsedRequest(one_tensor(rows, "FP64"), model, outputs=["shap_values", "shap_base"])
    plain = wire.infer(against)
    expected = native(server, rows, model, explain={"background": True})
    for _ in range(2):  # the second answer comes from the cache
        got = wire.infer(replace(against, parameters={"background": True}))
        assert got.error == ""
        assert got.parameters == {"bundle_version": expected["version"], "game": "interventional"}
        assert got.outputs == {
            "shap_values": [x for each in expected["explanations"] for x in contributions(each, model)],
            "shap_base": flat([bases(expected["explanations"][0], model)]),
        }
    assert wire.infer(replace(against, parameters={"background": False})) == plain
    assert plain.outputs != got.outputs


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("model", ["sample", "three"])
def test_explanations_of_groups_are_the_native_apis(server, wire, model, background):
    rows = some_rows("FP64", 5)
    players = ["outer", *(name for name in ALL_KINDS.names if name not in GROUPS["outer"])]
    game = {"groups": True, "background": background}
    grouped = ParsedRequest(
        one_tensor(rows, "FP64"), model, outputs=["shap_values", "shap_base", "prediction"], parameters=game
    )
    expected = native(server, rows, model, explain=game)
    for _ in range(2):  # the second answer comes from the cache
        got = wire.infer(grouped)
        assert got.error == ""
        assert json.loads(got.parameters.pop("groups")) == GROUPS
        assert got.parameters.get("game") == ("interventional" if background else None)
        assert got.shapes["shap_values"] == [5, len(players), *([3] if model == "three" else [])]
        assert got.outputs["shap_values"] == [
            x for each in expected["explanations"] for x in contributions(each, model, players)
        ]
        assert got.outputs["shap_base"] == flat([bases(expected["explanations"][0], model)])


def test_a_background_is_refused_where_there_is_none(wire):
    rows = some_rows("FP64", 2)
    against = ParsedRequest(one_tensor(rows, "FP64"), outputs=["shap_values"], parameters={"background": True})
    refused = wire.infer(replace(against, model="binary"))
    assert refused.code == "NOT_EXPLAINABLE"
    assert "the bundle of binary has no background; build it again with --background" in refused.error
    refused = wire.infer(replace(against, outputs=["shap_interactions"]))
    assert refused.code == "INVALID_TENSOR"
    assert (
        "output shap_interactions is path-dependent, of features; leave out the parameter background" in refused.error
    )
    refused = wire.infer(replace(against, model="binary", parameters={"groups": True}))
    assert refused.code == "NOT_EXPLAINABLE"
    assert "the bundle of binary has no groups; build it again with --groups" in refused.error
    # Outputs without explanations do not depend on it.
    assert wire.infer(replace(against, model="binary", outputs=["prediction"])).error == ""


@pytest.mark.parametrize("model", MODELS[1:])
def test_labels_equal_native_with_other_servers_names(server, wire, model):
    rows = some_rows("FP64", 12)
    expected = native(server, rows, model)
    labels = [label if model == "binary" else str(label) for label in expected["labels"]]
    assert len(set(labels)) > 1
    # MLServer's and KServe's first output is what predict of the object returns that was built: for `binary` the label.
    first = labels if model == "binary" else flat(expected["probabilities"])
    outputs = {"label": labels, "predict_proba": flat(expected["probabilities"]), "predict": first, "output-0": first}
    got = wire.infer(ParsedRequest(one_tensor(rows, "FP64"), model, outputs=list(outputs)))
    assert (got.error, got.outputs) == ("", outputs)
    assert (got.shapes["label"], got.shapes["predict_proba"]) == ([12], [12, len(expected["probabilities"][0])])
    for name, answered in (("predict", "predict"), ("input-0", "output-0")):
        (tensor,) = one_tensor(rows, "FP64")
        assert wire.infer(ParsedRequest([replace(tensor, name=name)], model)).outputs == {answered: first}


def test_metadata_say_what_each_output_holds(server):
    described = {each["name"]: each for each in server.ask("GET", "/v2/models/binary").json["outputs"]}
    assert {name: (each["datatype"], each["shape"]) for name, each in described.items()} == {
        "prediction": ("FP64", [-1]),
        "probabilities": ("FP64", [-1, 2]),
        "label": ("BYTES", [-1]),
    }
    assert [each["parameters"]["description"] for each in described.values()] == [
        "the probability of the class yes",
        "the probability of each class, in the order no, yes",
        "the predicted class, one of no, yes",
    ]
    named = server.ask("GET", "/v2/models/sample").json["parameters"]
    assert named["key_inputs"] == "shop BYTES [-1], sku INT64 [-1], open BOOL [-1]"
    assert named["outputs_on_demand"] == "shap_values, shap_interactions, shap_base"
    assert "key_inputs" not in server.ask("GET", "/v2/models/binary").json["parameters"]
    assert server.ask("GET", "/v2/models/binary/config").json["response_cache"] == {"enable": True}


def flat(values):
    return [x for value in values for x in (value if isinstance(value, list) else [value])]


def contributions(explanation, model, players=ALL_KINDS.names):
    """The native API tells them by name, and of several classes by class; the tensor has them by feature, then by class."""
    if model != "three":
        return [explanation["contributions"][name] for name in players]
    by_class = [explanation["contributions"][label] for label in ("0", "1", "other")]
    return [each[name] for name in players for each in by_class]


def bases(explanation, model):
    return explanation["base"]


def test_of_many_at_once_each_gets_its_own_answer(server, ways):
    """The same rows at the same time are computed once, and answered under each one's id, outputs and form."""
    few = [some_rows("FP64", 3), some_rows("FP32", 3)]
    many = [(rows * 100)[:MOST_ROWS] for rows in few]
    expected = [flat(native(server, rows)["predictions"]) for rows in few]
    shap_values = [
        x for each in native(server, few[0], explain=True)["explanations"] for x in contributions(each, "sample")
    ]

    def ask(number):
        which, wire = number % 2, ways[WIRES[number % 4]]
        is_long, named = number % 3 == 0, ("prediction", "output__0")[number // 2 % 2]
        rows = (many if is_long else few)[which]
        outputs = [named, "shap_values"] if is_long else [named]
        response = wire.infer(ParsedRequest(one_tensor(rows, "FP64"), id=f"n{number}", outputs=outputs))
        assert (response.error, response.id, list(response.outputs)) == ("", f"n{number}", outputs)
        assert response.outputs[named] == (expected[which] * 100)[: len(rows)]
        if is_long and which == 0:
            # Of a long request the last digits may be others, and are the same each time.
            assert response.outputs["shap_values"][: len(shap_values)] == pytest.approx(
                shap_values, rel=1e-9, abs=1e-12
            )
        return response.outputs.get("shap_values")

    with ThreadPoolExecutor(8) as pool:
        explained = list(pool.map(ask, range(240)))
    for which in (0, 1):
        answers = {tuple(each) for number, each in enumerate(explained) if each is not None and number % 2 == which}
        assert len(answers) == 1


DESCRIBED = {
    # Path, call, its request, and where in the answer over gRPC the document of REST is.
    "/v2": ("ServerMetadata", {}, lambda response: response),
    "/v2/models/sample": ("ModelMetadata", {"name": "sample"}, lambda response: response),
    "/v2/models/three/versions/1": ("ModelMetadata", {"name": "three", "version": "1"}, lambda response: response),
    "/v2/models/binary/config": ("ModelConfig", {"name": "binary"}, lambda response: response["config"]),
    "/v2/models/sample/stats": ("ModelStatistics", {"name": "sample"}, lambda response: response),
    "/v2/models/stats": ("ModelStatistics", {}, lambda response: response),
}


@pytest.mark.parametrize("path", DESCRIBED)
def test_metadata_is_the_same_on_both_transports(server, ways, path):
    ways["gRPC, raw"].infer(ParsedRequest(one_tensor([ROW], "FP64")))
    call, fields, select = DESCRIBED[path]
    with Peer(address_of(server)) as peer:
        answer = peer.ask(call, message(f"{call}Request")(**fields).SerializeToString())
    response = message(f"{call}Response").FromString(answer)
    document = json_format.MessageToDict(
        response, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    assert numbers(in_form_of(select(document), server.ask("GET", path).json)) == numbers(server.ask("GET", path).json)


def in_form_of(document, expected):
    """Without what messages have and documents leave out; a text among a message's parameters is one of several kinds."""
    if isinstance(expected, str) and isinstance(document, dict):
        return document["string_param"]
    if isinstance(expected, dict):
        assert document.keys() >= expected.keys()
        return {name: in_form_of(document[name], value) for name, value in expected.items()}
    if isinstance(expected, list):
        return [in_form_of(each, other) for each, other in zip(document, expected, strict=True)]
    return document


def numbers(value):
    """JSON of messages writes integers of 64 bits as text."""
    match value:
        case dict():
            return {name: numbers(each) for name, each in value.items()}
        case list():
            return [numbers(each) for each in value]
        case str() if value.lstrip("-").isdigit():
            return int(value)
    return value


# Look-ups, keys and what they are good for


def by_key(skus, shop="a", kinds=("BYTES", "INT64", "BOOL"), shape=()):
    n = len(skus)
    columns = {"shop": [shop] * n, "sku": skus, "open": [True] * n}
    texts = {"shop": [shop] * n, "sku": [str(sku) for sku in skus], "open": ["true"] * n}
    inputs = [
        Tensor(name, kind, (texts if kind == "BYTES" else columns)[name], [n, *shape])
        for kind, name in zip(kinds, columns, strict=True)
    ]
    return inputs[::-1]


@pytest.fixture(scope="module")
def stored(server):
    """Rows by key, pushed through the admin socket."""
    rows = [
        {
            "key": {"shop": "a", "sku": sku, "open": True},
            "features": EXAMPLE | {"price": sku - 2.0, "code": sku, "depth": sku / 2},
            "as_of": f"2026-02-0{sku}T00:00:00Z",
        }
        for sku in (1, 2, 3)
    ]
    with Client(server.admin) as admin:
        assert admin.ask("POST", "/admin/models/sample/features", {"rows": rows}).status == 200
    return rows


@pytest.mark.parametrize(
    "kinds", [("BYTES", "INT64", "BOOL"), ("BYTES", "UINT8", "BYTES"), ("BYTES", "BYTES", "BYTES")]
)
def test_rows_are_looked_up_by_key_as_by_the_native_api(server, wire, stored, kinds):
    expected = [server.ask("POST", "/models/sample/predict", {"key": row["key"]}).json for row in stored]
    response = wire.infer(
        ParsedRequest(by_key([3, 2, 1, 2], kinds=kinds), outputs=["prediction", "shap_values", "shap_base"])
    )
    assert response.error == ""
    predictions = [expected[sku - 1]["prediction"] for sku in (3, 2, 1, 2)]
    assert len(set(predictions)) == 3
    assert response.outputs["prediction"] == predictions
    assert response.parameters == {"bundle_version": expected[0]["version"], "features_as_of": "2026-02-01T00:00:00Z"}
    response = wire.infer(
        ParsedRequest(by_key([3], kinds=kinds, shape=(1,)), outputs=["shap_values", "shap_base", "prediction"])
    )
    explained = server.ask("POST", "/models/sample/explain", {"key": stored[2]["key"]}).json["explanation"]
    assert response.outputs == {
        "shap_values": [explained["contributions"][name] for name in ALL_KINDS.names],
        "shap_base": [explained["base"]],
        "prediction": predictions[:1],
    }
    assert response.parameters["features_as_of"] == "2026-02-03T00:00:00Z"


def test_unknown_key_is_not_found_and_invalid_key_refused(wire, stored):
    on_grpc = isinstance(wire, GrpcWire)
    response = wire.infer(ParsedRequest(by_key([1, 9])))
    assert (response.status, response.code) == ("NOT_FOUND" if on_grpc else 404, "KEY_NOT_FOUND")
    assert "9" in response.error
    response = wire.infer(ParsedRequest(by_key([1] * 101)))
    assert (response.status, response.code) == ("INVALID_ARGUMENT" if on_grpc else 413, "BATCH_TOO_LARGE")
    assert all(word in response.error for word in ("101", "100"))
    response = wire.infer(ParsedRequest(by_key(["x"], kinds=("BYTES",) * 3)))
    assert (response.status, response.code) == ("INVALID_ARGUMENT" if on_grpc else 422, "INVALID_KEY")
    assert all(word in response.error for word in ("sku", '"x"', "integer"))


@pytest.mark.parametrize("stale", ["refuse", "flag"])
def test_a_row_that_is_too_old_is_refused_or_flagged(tmp_path, stale):
    path = write_tree_bundle(tmp_path / "sample", key=KEY)
    admin = tmp_path / "admin.sock"
    options = ["--grpc-port", "0", "--state-dir", str(tmp_path / "state"), "--admin", f"unix:{admin}"]
    options += ["--max-feature-age", "60", "--stale-features", stale, "--unknown-categories", "missing"]
    row = {"key": {"shop": "a", "sku": 1, "open": True}, "features": EXAMPLE, "as_of": "2026-02-01T00:00:00Z"}
    with serving(path, options=options) as server, Peer(address_of(server)) as peer:
        with Client(admin) as client:
            assert client.ask("POST", "/admin/models/sample/features", {"rows": [row]}).status == 200
        for wire in wires(server, peer).values():
            response = wire.infer(ParsedRequest(by_key([1])))
            if stale == "flag":
                assert response.parameters["features_stale"] is True
                assert response.parameters["features_as_of"] == row["as_of"]
            else:
                assert response.status == ("FAILED_PRECONDITION" if isinstance(wire, GrpcWire) else 422)
                assert response.code == "STALE_FEATURES"
            # Here a category that is none is a missing one, in every form.
            unknown = wire.infer(ParsedRequest(features(store=Tensor("store", "BYTES", ["west"], [1]))))
            missing = wire.infer(ParsedRequest(wide([*ROW[:3], None, *ROW[4:]])))
            assert unknown.outputs == missing.outputs != {}
        assert server.troubles == []


@pytest.mark.parametrize("name", WIRES)
def test_keys_are_required_and_explanations_need_the_scope(served, guarded_ways, name):
    wire, keys = guarded_ways[name], served[1].keys
    on_grpc = isinstance(wire, GrpcWire)
    plain = ParsedRequest(one_tensor([ROW], "FP64"))
    explained = ParsedRequest(plain.inputs, outputs=["prediction", "shap_values"])
    assert list(wire.infer(plain, key=keys["predict"]).outputs) == ["prediction"]
    assert list(wire.infer(explained, key=keys["predict+explain"]).outputs) == ["prediction", "shap_values"]
    for parsed, key, http, grpc, words in (
        (plain, "", 401, "UNAUTHENTICATED", "key"),
        (plain, "no.key", 401, "UNAUTHENTICATED", "key"),
        (plain, keys["admin"], 403, "PERMISSION_DENIED", "'predict'"),
        (explained, keys["predict"], 403, "PERMISSION_DENIED", "'explain'"),
        (ParsedRequest(plain.inputs, outputs=["shap_base"]), keys["predict"], 403, "PERMISSION_DENIED", "'explain'"),
    ):
        response = wire.infer(parsed, key=key)
        assert response.status == (grpc if on_grpc else http), response
        assert words in response.error


# What is refused


def wide(values=None, *, name="features", datatype="FP64", shape=(1, 7)):
    return [Tensor(name, datatype, ROW if values is None else values, shape)]


def features(**changed):
    """A tensor a feature, those named otherwise changed; None leaves it out."""
    inputs = {each.name: each for each in a_tensor_a_feature([ROW], "FP64")}
    return [each for each in (inputs | changed).values() if each is not None]


TENSOR = (422, "INVALID_ARGUMENT", "INVALID_TENSOR")
REFUSED = {
    # What is against: (the request, (HTTP, gRPC, our code), words of the sentence)
    "unknown model": (ParsedRequest(wide(), "nobody"), (404, "NOT_FOUND", "MODEL_NOT_FOUND"), ["nobody", "sample"]),
    "unknown version": (ParsedRequest(wide(), version="99"), (404, "NOT_FOUND", "MODEL_NOT_FOUND"), ["99", "'1'"]),
    "unknown output": (ParsedRequest(wide(), outputs=["nothing"]), TENSOR, ["nothing", "prediction"]),
    "output named twice": (ParsedRequest(wide(), outputs=["prediction", "prediction"]), TENSOR, ["prediction", "once"]),
    "wrong name": (ParsedRequest(wide(name="nothing")), TENSOR, ["nothing", "'features'"]),
    "no name": (ParsedRequest(wide(name="")), TENSOR, ["'features'"]),
    "one dimension": (ParsedRequest(wide(shape=[7])), TENSOR, ["features", "[7]", "[rows, 7]"]),
    "three dimensions": (ParsedRequest(wide(shape=[1, 7, 1])), TENSOR, ["features", "[1, 7, 1]", "[rows, 7]"]),
    "no dimension": (ParsedRequest(wide(shape=[])), TENSOR, ["features", "[]", "[rows, 7]"]),
    "a column too many": (ParsedRequest(wide([*ROW, 1], shape=[1, 8])), TENSOR, ["features", "[1, 8]", "[rows, 7]"]),
    "a value too few": (ParsedRequest(wide(ROW[:6])), TENSOR, ["features", "[1, 7]", "FP64", "send"]),
    "a value too many": (ParsedRequest(wide([*ROW, 1])), TENSOR, ["features", "[1, 7]", "FP64"]),
    "a row too few": (ParsedRequest(wide(shape=[2, 7])), TENSOR, ["features", "[2, 7]", "FP64"]),
    "no row": (ParsedRequest(wide([], shape=[0, 7])), (422, "INVALID_ARGUMENT", "EMPTY_BATCH"), ["features", "one or more"]),
    "a negative dimension": (ParsedRequest(wide(shape=[-1, 7])), TENSOR, ["features", "[-1, 7]", "negative", "send"]),
    "two negative dimensions": (ParsedRequest(wide(shape=[-1, -7])), TENSOR, ["features", "[-1, -7]", "[rows, 7]"]),
    "a huge dimension": (
        ParsedRequest(wide(shape=[(1 << 62) + 1, 7])), (413, "INVALID_ARGUMENT", "BATCH_TOO_LARGE"), ["features", str(MOST_ROWS)],
    ),
    "two huge dimensions": (ParsedRequest(wide(shape=[1 << 32, 1 << 32])), TENSOR, ["features", "[rows, 7]"]),
    "many dimensions": (ParsedRequest(wide(shape=[1] * 100)), TENSOR, ["features", "[rows, 7]"]),
    "more rows than are taken": (
        ParsedRequest(wide(ROW * (MOST_ROWS + 1), shape=[MOST_ROWS + 1, 7])),
        (413, "INVALID_ARGUMENT", "BATCH_TOO_LARGE"), ["features", "501", "500", "several"],
    ),
    "a datatype that is not taken": (ParsedRequest(wide(datatype="FP16")), TENSOR, ["features", "FP16", "FP64"]),
    "no datatype": (ParsedRequest(wide(datatype="")), TENSOR, ["features", "FP64"]),
    "text for numbers": (ParsedRequest(wide(list("abcdefg"), datatype="BYTES")), TENSOR, ["features", "BYTES", "FP64"]),
    "numbers for text": (
        ParsedRequest(features(store=Tensor("store", "INT64", [1], [1]))), TENSOR, ["store", "INT64", "BYTES"],
    ),
    "half a count": (ParsedRequest(wide([9.5, 3.5, *ROW[2:]])), (422, "INVALID_ARGUMENT", "INVALID_FEATURE"), ["row 0", "count", "3.5", "an integer"]),
    "a boolean that is none": (ParsedRequest(wide([9.5, 3, 2, *ROW[3:]])), (422, "INVALID_ARGUMENT", "INVALID_FEATURE"), ["promo", "2", "true or false"]),
    "a code that is none": (ParsedRequest(wide([9.5, 3, 1, 3, *ROW[4:]])), (422, "INVALID_ARGUMENT", "UNKNOWN_CATEGORY"), ["store", "3", "codes 0 to 2"]),
    "what may not be missing": (ParsedRequest(wide([*ROW[:6], None])), (422, "INVALID_ARGUMENT", "INVALID_FEATURE"), ["depth", "may not be missing"]),
    "the second row alone": (
        ParsedRequest(wide([*ROW, 9.5, 3.5, *ROW[2:]], shape=[2, 7])), (422, "INVALID_ARGUMENT", "INVALID_FEATURE"), ["row 1", "count", "3.5"],
    ),
    "an unknown category": (
        ParsedRequest(features(store=Tensor("store", "BYTES", ["west"], [1]))), (422, "INVALID_ARGUMENT", "UNKNOWN_CATEGORY"), ["store", "west", "north"],
    ),
    "a missing tensor": (ParsedRequest(features(depth=None)), TENSOR, ["depth", "missing", "'features'"]),
    "all tensors missing": (ParsedRequest([]), TENSOR, ["price", "missing", "'features'"]),
    "a tensor too many": (ParsedRequest(features(extra=Tensor("extra", "FP64", [1.0], [1]))), TENSOR, ["extra", "leave it out"]),
    "two of a name": (ParsedRequest(wide() * 2), TENSOR, ["features", "once"]),
    "rows that do not match": (
        ParsedRequest(features(depth=Tensor("depth", "FP64", [1.0, 2.0], [2]))), TENSOR, ["depth", "2", "price", "the same number"],
    ),
    "a tensor a feature of two columns": (
        ParsedRequest(features(depth=Tensor("depth", "FP64", [1.0, 2.0], [1, 2]))), TENSOR, ["depth", "[1, 2]", "send [rows, 1]"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_errors_are_the_same_on_every_transport(wire, what):
    parsed, (http, grpc, code), words = REFUSED[what]
    response = wire.infer(parsed)
    assert (response.status, response.code) == (grpc if isinstance(wire, GrpcWire) else http, code), response
    for word in words:
        assert word in response.error


def cut(n):
    return lambda body, length: (body[:-n], length)


def and_more(extra):
    return lambda body, length: (body + extra, length)


def length_of(made):
    return lambda body, length: (body, made(body, length))


def with_(old, new):
    """Another text in the JSON or the message, of another length too."""

    def tamper(body, length):
        assert old in body
        return body.replace(old, new, 1), length + len(new) - len(old) if length else 0

    return tamper


def field(**members):
    """A ModelInferRequest of these alone."""
    return lambda _body, _length: (message("ModelInferRequest")(model_name="sample", **members).SerializeToString(), 0)


def raw_inputs(*blobs, contents=None):
    tensor = {"name": "features", "datatype": "FP64", "shape": [1, 7]} | ({"contents": contents} if contents else {})
    return field(inputs=[tensor], raw_input_contents=list(blobs))


MALFORMED = (400, "INVALID_ARGUMENT", "MALFORMED_REQUEST")
TOO_LONG = (413, "RESOURCE_EXHAUSTED", "BODY_TOO_LARGE")
SHAPE = b'"shape": [1, 7]'
DAMAGED = {
    # Where, and what is done to a sound message: (wire, damage, (HTTP, gRPC, our code), words)
    "binary size one less": ("REST, binary", with_(b": 56}", b": 55}"), MALFORMED, ["1 bytes follow", "binary_data_size"]),
    "binary size beyond the body": ("REST, binary", with_(b": 56}", b": 64}"), TENSOR, ["features", "64", "56", "send"]),
    "binary size negative": ("REST, binary", with_(b": 56}", b": -8}"), TENSOR, ["features", "-8", "send"]),
    "binary size no number": ("REST, binary", with_(b": 56}", b': "56"}'), MALFORMED, ["binary_data_size", "send"]),
    "binary size huge": ("REST, binary", with_(b": 56}", b": 99999999999999999999}"), TENSOR, ["features", "56", "send"]),
    "bytes that follow": ("REST, binary", and_more(b"12345678"), MALFORMED, ["8 bytes follow", "binary_data_size"]),
    "body cut short": ("REST, binary", cut(8), TENSOR, ["features", "56", "48"]),
    "data and binary data": ("REST, binary", with_(SHAPE, SHAPE + b', "data": [1]'), TENSOR, ["features", "one of them"]),
    "header length beyond the body": ("REST, binary", length_of(lambda _b, _n: 10**9), MALFORMED, ["1000000000", "send"]),
    "header length of less than the JSON": ("REST, binary", length_of(lambda _b, n: n - 1), MALFORMED, ["Inference-Header-Content-Length"]),
    "header length of the body": ("REST, binary", length_of(lambda b, _n: len(b)), MALFORMED, ["Inference-Header-Content-Length"]),
    "header length negative": ("REST, binary", length_of(lambda _b, _n: -1), MALFORMED, ["Inference-Header-Content-Length"]),
    "header length of many digits": ("REST, binary", length_of(lambda _b, _n: 10**30), MALFORMED, ["Inference-Header-Content-Length"]),
    "no header length": ("REST, binary", length_of(lambda _b, _n: 0), MALFORMED, ["Inference-Header-Content-Length"]),
    "no JSON": ("REST, JSON", lambda _b, _n: (b"{", 0), MALFORMED, ["inputs", "send"]),
    "nothing": ("REST, JSON", lambda _b, _n: (b"", 0), MALFORMED, ["inputs", "send"]),
    "another document": ("REST, JSON", lambda _b, _n: (b"[1]", 0), MALFORMED, ["inputs", "send"]),
    "deep": ("REST, JSON", with_(b"[9.5", b"[" * 90_000 + b"9.5"), TENSOR, ["features", "FP64"]),
    "no data": ("REST, JSON", lambda b, n: (b.partition(b', "data"')[0] + b"}]}", n), TENSOR, ["features", "data"]),
    "a shape of text": ("REST, JSON", with_(b"[1, 7]", b'["1", 7]'), MALFORMED, ["shape"]),
    "half a dimension": ("REST, JSON", with_(b"[1, 7]", b"[1.5, 7]"), MALFORMED, ["shape"]),
    "a dimension beyond 64 bits": ("REST, JSON", with_(b"[1, 7]", b"[99999999999999999999, 7]"), (413, "", "BATCH_TOO_LARGE"), ["features", "outside 64 bits"]),
    "an integer beyond its datatype": ("REST, JSON", with_(b'FP64", "data": [9.5', b'INT8", "data": [300'), TENSOR, ["features"]),
    "no integers": ("REST, JSON", with_(b"FP64", b"INT64"), TENSOR, ["features", "INT64"]),
    "a number beyond float64": ("REST, JSON", with_(b"[9.5", b"[1e999"), (422, "INVALID_ARGUMENT", "INVALID_FEATURE"), ["features", "range of float64"]),
    "text among numbers": ("REST, JSON", with_(b"[9.5", b'["9.5"'), TENSOR, ["features", "FP64"]),
    "too long a body": ("REST, JSON", and_more(b" " * MOST_BYTES), TOO_LONG, [str(MOST_BYTES)]),
    "too long a binary body": ("REST, binary", and_more(b" " * MOST_BYTES), TOO_LONG, [str(MOST_BYTES)]),
    "truncated protobuf": ("gRPC, raw", cut(3), MALFORMED, ["ModelInferRequest"]),
    "truncated protobuf of values": ("gRPC, values", cut(3), MALFORMED, ["ModelInferRequest"]),
    "no protobuf": ("gRPC, raw", lambda _b, _n: (b"\xff" * 9, 0), MALFORMED, ["ModelInferRequest"]),
    "an empty message": ("gRPC, raw", lambda _b, _n: (b"", 0), (404, "NOT_FOUND", "MODEL_NOT_FOUND"), ["sample"]),
    "raw contents of fewer bytes": ("gRPC, raw", raw_inputs(bytes(55)), TENSOR, ["features", "56", "55"]),
    "raw contents of more bytes": ("gRPC, raw", raw_inputs(bytes(64)), TENSOR, ["features", "56", "64"]),
    "raw contents of one tensor more": ("gRPC, raw", raw_inputs(bytes(56), bytes(56)), TENSOR, ["2", "1", "send one for each"]),
    "raw contents and values": ("gRPC, raw", raw_inputs(bytes(56), contents={"fp64_contents": ROW}), TENSOR, ["features", "one of them"]),
    "values of another datatype": (
        "gRPC, values", raw_inputs(contents={"fp32_contents": ROW}), TENSOR, ["features", "fp32_contents", "fp64_contents"],
    ),
    "shared memory": (
        "gRPC, raw", field(inputs=[{"name": "features", "parameters": {"shared_memory_region": message("InferParameter")(string_param="x")}}]),
        TENSOR, ["shared_memory_region", "leave it out"],
    ),
    "classes for an output": (
        "REST, binary", with_(b"}}], ", b'}}], "outputs": [{"name": "prediction", "parameters": {"classification": 2}}], '), TENSOR,
        ["prediction", "classification", "leave it out"],
    ),
    "shared memory of an input": (
        "REST, JSON", with_(SHAPE, SHAPE + b', "parameters": {"shared_memory_region": "x"}'), TENSOR,
        ["features", "shared_memory_region", "leave it out"],
    ),
    "too long a message": ("gRPC, raw", and_more(b" " * MOST_BYTES), (413, "RESOURCE_EXHAUSTED", "BODY_TOO_LARGE"), [str(MOST_BYTES)]),
}  # fmt: skip


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_message_is_refused(ways, what):
    name, tamper, (http, grpc, code), words = DAMAGED[what]
    wire = ways[name]
    response = wire.infer(ParsedRequest(wide()), tamper)
    assert (response.status, response.code) == (grpc if isinstance(wire, GrpcWire) else http, code), response
    for word in words:
        assert word in response.error


@pytest.mark.parametrize("name", WIRES[1:])
def test_an_infinite_number_is_refused_where_it_can_be_said(ways, name):
    response = ways[name].infer(ParsedRequest(wide([math.inf, *ROW[1:]])))
    assert response.code == "INVALID_FEATURE"
    assert all(word in response.error for word in ("features", "row 0", "price", "range of float64"))


def test_invalid_texts_are_refused(ways):
    for name, blob in (("REST, binary", b"\x09\0\0\0abc"), ("gRPC, raw", b"\xff\xff\xff\xffabc")):
        response = ways[name].infer(ParsedRequest(features(store=Tensor("store", "BYTES", [], [1], blob))))
        assert response.code == "INVALID_TENSOR"
        assert all(word in response.error for word in ("store", "4 bytes"))

"""One value at every entry point: the training library's own answer, or one error code, the same for all of them."""

from __future__ import annotations

import asyncio
import json
import math
import re
from dataclasses import dataclass

import catboost
import duckdb
import lightgbm
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xgboost
from sklearn import ensemble

import mlrf
import mlrf.duckdb
import mlrf.polars
from arrow_streams import stream
from grpc_peer import INFERENCE, LIMIT_S, Peer, address_of
from inference_wires import GrpcWire, ParsedRequest, Tensor, wires
from mlrf.cli.row_leniency import leniency_of
from mlrf.client import AsyncClient
from mlrf.client import Client as PythonClient
from mlrf.core.errors import MlrfError
from mlrf.model.row_files import read_file
from mlrf.serving.oip.grpc.message_types import message
from mlrf.serving.route_spec import EXPLAIN, PREDICT
from mlrf.serving.routes import GRPC_CALLS, ROUTES
from once_a_run import once_a_run
from raw_http import Client
from running import Server, serving

RNG = np.random.default_rng(3)
X = np.round(RNG.normal(size=(300, 2)), 2)
GAPS = np.where(RNG.random(X.shape) < 0.1, np.nan, X)
Y = X[:, 0] * 2 + X[:, 1]
SECOND = 0.25
NAMES = ["a", "b"]


def frame(rows):
    return pd.DataFrame(rows, columns=NAMES)


LIBRARIES = {
    "lightgbm": lambda: lightgbm.LGBMRegressor(n_estimators=5, verbose=-1).fit(frame(GAPS), Y).booster_,
    "xgboost": lambda: xgboost.train({"max_depth": 3}, xgboost.DMatrix(frame(GAPS), Y), 5),
    "boosting": lambda: ensemble.GradientBoostingRegressor(n_estimators=5).fit(frame(X), Y),
    "catboost": lambda: catboost.CatBoostRegressor(iterations=5, verbose=0, allow_writing_files=False).fit(
        frame(GAPS), Y
    ),
    "histogram": lambda: ensemble.HistGradientBoostingRegressor(max_iter=5).fit(frame(GAPS), Y),
    "forest": lambda: ensemble.RandomForestRegressor(5).fit(frame(GAPS), Y),
}
IN_MAKE_TEST = ("lightgbm", "xgboost", "boosting")
"""One that answers infinities, one that refuses them, one that refuses missing values; the others take a build each."""
VALUES = [math.inf, -math.inf, 1e39, -1e39, 1e300, 3.4028235e38, math.nan, 0.5]


@dataclass
class Served:
    """A model in this process, in a server, and in its library."""

    name: str
    path: object
    fitted: object
    model: mlrf.Model
    server: Server
    peer: Peer
    client: PythonClient
    admin: object
    folder: object

    def own(self, value):
        """The library's own answer; None where it refuses the value."""
        rows = frame([[value, SECOND]])
        try:
            if isinstance(self.fitted, xgboost.Booster):
                return float(self.fitted.predict(xgboost.DMatrix(rows))[0])
            with np.errstate(over="ignore"):
                return float(self.fitted.predict(rows)[0])
        except (ValueError, xgboost.core.XGBoostError):
            return None


def number(value):
    """A number as JSON that these routes take: missing is null, an infinity is beyond float64."""
    if math.isnan(value):
        return "null"
    return {math.inf: "1e999", -math.inf: "-1e999"}.get(value, repr(value))


def python(rows):
    return lambda served, value: float(served.model.predict(rows(value))[0])


def post(path, body, find, headers=()):
    def ask(served, value):
        text = body.replace("NUMBER", str(value) if headers else number(value))
        answer = served.server.ask("POST", path.replace("MODEL", served.name), text.encode(), headers)
        return float(find(answer.json)) if answer.status == 200 else answer.code

    return ask


def infer(wire, datatype="FP64", *, by_feature=False):
    def ask(served, value):
        if by_feature:
            inputs = [Tensor("a", datatype, [value], [1]), Tensor("b", datatype, [SECOND], [1])]
        else:
            inputs = [Tensor("features", datatype, [value, SECOND], [1, 2])]
        found = wires(served.server, served.peer)[wire].infer(ParsedRequest(inputs, served.name))
        return found.code or found.outputs["prediction"][0]

    return ask


def file_rows(name, write):
    def ask(served, value):
        path = served.folder / f"{served.name}.{name}"
        write(path, value)
        rows = read_file(path, served.model.schema)
        return float(served.model.predict(rows, leniency_of("refuse"))[0])

    return ask


def scored(served, value):
    source, out = served.folder / f"{served.name}.in.parquet", served.folder / f"{served.name}.{value}.out"
    pq.write_table(pa.table({"a": [value], "b": [SECOND]}), source)
    mlrf.score(served.path, [source], out)
    return pq.read_table(out / "part-00000-000000.parquet")["prediction"][0].as_py()


def by_key(served, value):
    body = b'{"rows":[{"key":{"id":7},"features":{"a":%b,"b":0.25}}]}' % number(value).encode()
    with Client(served.admin) as admin:
        pushed = admin.ask("POST", f"/admin/models/{served.name}/features", body)
    if pushed.status != 200:
        return pushed.code
    answer = served.server.ask("POST", f"/models/{served.name}/predict", {"key": {"id": 7}})
    return answer.json["prediction"] if answer.status == 200 else answer.code


def arrow_body(accept, find):
    def ask(served, value):
        content = stream(pa.table({"a": [None if math.isnan(value) else value], "b": [SECOND]}))
        headers = [f"Content-Type: {ARROW}", *([f"Accept: {ARROW}"] if accept else [])]
        answer = served.server.ask("POST", f"/models/{served.name}/predict/batch", content, headers)
        return find(answer) if answer.status == 200 else answer.code

    return ask


def inferred_in_a_stream(served, value):
    body, _ = GrpcWire(None, raw=True).message(
        ParsedRequest([Tensor("features", "FP64", [value, SECOND], [1, 2])], served.name)
    )
    [answer] = served.peer.channel.stream_stream(f"{INFERENCE}ModelStreamInfer")(iter([body]), timeout=LIMIT_S)
    found = message("ModelStreamInferResponse").FromString(answer)
    if found.error_message:
        return "INVALID_FEATURE" if "'a'" in found.error_message else found.error_message
    return float(np.frombuffer(found.infer_response.raw_output_contents[0])[0])


def on_a_curve(answer):
    [axis] = answer["axes"]
    return answer["predictions"][axis["at"]]


def in_duckdb(served, value):
    with duckdb.connect() as con:
        mlrf.duckdb.register(con, "predicted", served.path)
        try:
            return con.execute("SELECT predicted({'b': 0.25, 'a': ?::DOUBLE})", [value]).fetchone()[0]
        except duckdb.Error as error:
            return code_in(error)


def in_polars(served, value):
    try:
        return pl.DataFrame({"b": [SECOND], "a": [value]}).select(mlrf.polars.predict(served.path)).item()
    except pl.exceptions.ComputeError as error:
        return code_in(error)


def in_estimator(served, value):
    try:
        return float(served.model.as_estimator().predict(pd.DataFrame({"a": [value], "b": [SECOND]}))[0])
    except ValueError as error:
        return error.__cause__.code


def code_in(error):
    """The code of an error whose sentence a library quotes."""
    return "INVALID_FEATURE" if re.search(r"feature 'a'", str(error)) else str(error)


def of_async_client(served, value):
    async def ask():
        async with AsyncClient(f"http://127.0.0.1:{served.server.port}", model=served.name) as client:
            return await client.predict({"a": None if math.isnan(value) else value, "b": SECOND})

    return asyncio.run(ask())


def of_client(rows):
    def ask(served, value):
        return float(np.ravel(served.client.predict(rows(value)))[0])

    return ask


ONE = "/models/MODEL/predict"
CSV = ["Content-Type: text/csv"]
ARROW = "application/vnd.apache.arrow.stream"
ENTRY_POINTS = {
    "list": python(lambda x: [[x, SECOND]]),
    "tuple": python(lambda x: ((x, SECOND),)),
    "records": python(lambda x: [{"a": x, "b": SECOND}]),
    "ndarray": python(lambda x: np.array([[x, SECOND]])),
    "objects": python(lambda x: np.array([[x, SECOND]], object)),
    "pandas": python(lambda x: pd.DataFrame({"a": [x], "b": [SECOND]})),
    "pandas objects": python(lambda x: pd.DataFrame({"a": pd.Series([x], dtype=object), "b": [SECOND]})),
    "polars": python(lambda x: pl.DataFrame({"a": [x], "b": [SECOND]})),
    "arrow": python(lambda x: pa.table({"a": [x], "b": [SECOND]})),
    "JSON array": post(ONE, '{"features": [NUMBER, 0.25]}', lambda a: a["prediction"]),
    "JSON object": post(ONE, '{"features": {"a": NUMBER, "b": 0.25}}', lambda a: a["prediction"]),
    "JSON batch": post(
        ONE + "/batch",
        '{"instances": [{"features": {"b": 0.25, "a": NUMBER}}], "unknown_categories": "missing"}',
        lambda a: a["predictions"][0],
    ),
    "JSON overrides": post(ONE, '{"key": {"id": 1}, "overrides": {"a": NUMBER}}', lambda a: a["prediction"]),
    "JSON, bare": post(ONE, '{"b": 0.25, "a": NUMBER}', lambda a: a["prediction"]),
    "JSON, columns": post(
        ONE + "/batch", '{"columns": ["b", "a"], "data": [[0.25, NUMBER]]}', lambda a: a["predictions"][0]
    ),
    "JSON, default model": post("/predict", '{"features": [NUMBER, 0.25]}', lambda a: a["prediction"]),
    "explained": post(
        "/models/MODEL/explain", '{"features": [NUMBER, 0.25]}',
        lambda a: a["prediction"],
    ),
    "on a curve": post("/models/MODEL/curve", '{"features": [NUMBER, 0.25], "vary": ["b"]}', on_a_curve),
    "Arrow, answered in JSON": arrow_body(False, lambda answer: answer.json["predictions"][0]),
    "Arrow, answered in Arrow": arrow_body(
        True, lambda answer: pa.ipc.open_stream(answer.body).read_all()["prediction"][0].as_py()
    ),
    "KServe v1, explained": post(
        "/v1/models/MODEL:explain", '{"instances": [{"b": 0.25, "a": NUMBER}]}', lambda a: a["predictions"][0]
    ),
    "KServe v1": post("/v1/models/MODEL:predict", '{"instances": [[NUMBER, 0.25]]}', lambda a: a["predictions"][0]),
    "MLflow": post(
        "/invocations", '{"dataframe_split": {"columns": ["a", "b"], "data": [[NUMBER, 0.25]]}}',
        lambda a: a["predictions"][0],
    ),
    "CSV": post("/invocations", "a,b\nNUMBER,0.25\n", lambda a: a["predictions"][0], CSV),
    "inference, JSON": infer("REST, JSON"),
    "inference, JSON by feature": infer("REST, JSON", by_feature=True),
    "inference, binary": infer("REST, binary"),
    "inference, gRPC values": infer("gRPC, values"),
    "inference, gRPC raw by feature": infer("gRPC, raw", by_feature=True),
    "inference, gRPC stream": inferred_in_a_stream,
    "file of CSV": file_rows("csv", lambda path, x: path.write_text(f"a,b\n{x},0.25\n")),
    "file of JSON": file_rows("json", lambda path, x: path.write_text(f'[{{"a": {number(x)}, "b": 0.25}}]')),
    "file of JSON lines": file_rows("jsonl", lambda path, x: path.write_text(f'{{"a": {number(x)}, "b": 0.25}}\n')),
    "score": scored,
    "DuckDB": in_duckdb,
    "Polars expression": in_polars,
    "estimator": in_estimator,
    "stored row": by_key,
    "client, record": of_client(lambda x: {"a": None if math.isnan(x) else x, "b": SECOND}),
    "asynchronous client": of_async_client,
    "client, table": of_client(lambda x: pd.DataFrame({"a": [x], "b": [SECOND]})),
}  # fmt: skip


@pytest.fixture(
    scope="module",
    params=[each if each in IN_MAKE_TEST else pytest.param(each, marks=pytest.mark.slow) for each in LIBRARIES],
)
def served(request, tmp_path_factory):
    name, folder = request.param, tmp_path_factory.mktemp("entry-points")
    fitted = LIBRARIES[name]()
    pq.write_table(pa.table({"id": [1], "a": [0.0], "b": [SECOND]}), folder / "rows.parquet")

    def make(path):
        mlrf.build(fitted, path, name=name, features=folder / "rows.parquet", key=["id"])

    path = once_a_run(tmp_path_factory, f"entry-points-{name}", make)
    options = ["--state-dir", str(folder / "state"), "--admin", f"unix:{folder / 'admin.sock'}", "--grpc-port", "0"]
    with (
        serving(path, options=options) as server,
        Peer(address_of(server)) as peer,
        PythonClient(f"http://127.0.0.1:{server.port}", model=name) as client,
    ):
        yield Served(name, path, fitted, mlrf.load(path), server, peer, client, folder / "admin.sock", folder)


@pytest.mark.parametrize("value", VALUES)
def test_numbers_match_the_library_or_are_refused(served, value):
    own, found = served.own(value), {}
    for name, ask in ENTRY_POINTS.items():
        try:
            found[name] = ask(served, value)
        except MlrfError as error:
            found[name] = error.code
    if own is None:
        assert found == dict.fromkeys(ENTRY_POINTS, "INVALID_FEATURE")
    else:
        assert {name: each for name, each in found.items() if not isinstance(each, float)} == {}
        assert set(found.values()) == {found["list"]}
        assert found["list"] == pytest.approx(own, rel=1e-6)


def test_every_route_that_predicts_is_among_the_entry_points(served):
    for ask in ENTRY_POINTS.values():
        ask(served, 0.75)
    answered = {
        found["route"]
        for sample, count in served.server.metrics().items()
        if count and (found := labels_of(sample)).get("status") == "200"
    }
    routes = {each.path for each in ROUTES if each.scope in (PREDICT, EXPLAIN)}
    assert routes | {each.path for each in GRPC_CALLS if each.predicts} <= answered


def labels_of(sample):
    """The labels of a sample of requests counted by route."""
    name, *labels = sample.split(";")
    return dict(each.split("=", 1) for each in labels) if name == "mlrf_requests_total" else {}


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_features_are_returned_as_numbers_that_are_read_back(served, value):
    if served.own(value) is None:
        pytest.skip("the library refuses it")
    body = json.dumps({"features": [1234.5, SECOND], "return_features": True}).replace("1234.5", number(value))
    answer = served.server.ask("POST", "/predict", body.encode())
    assert json.loads(answer.body)["features"] == {"a": value, "b": SECOND}


CODES = [1, 1.0, 0.5, -1, 99, 2.0**40, math.nan, math.inf]
BY_CODE = (
    "list",
    "tuple",
    "ndarray",
    "objects",
    "JSON array",
    "inference, JSON",
    "inference, binary",
    "inference, gRPC values",
)


@pytest.fixture(scope="module", params=["histogram", "catboost"])
def categorical(request, tmp_path_factory):
    """A model whose first feature is a category, given by its code."""
    folder, name = tmp_path_factory.mktemp("codes"), request.param
    codes = RNG.integers(0, 4, len(X))
    target = X[:, 1] + codes
    if name == "histogram":
        model = ensemble.HistGradientBoostingRegressor(max_iter=5, categorical_features=[0])
        fitted, lists = model.fit(np.c_[codes, X[:, 1]], target), None
    else:
        model = catboost.CatBoostRegressor(iterations=5, verbose=0, cat_features=["a"], allow_writing_files=False)
        table = pd.DataFrame({"a": np.array(list("pqrs"))[codes], "b": X[:, 1]})
        fitted, lists = model.fit(table, target), {"a": list("pqrs")}
    path = mlrf.build(fitted, folder / "b", name=name, categories=lists)
    with (
        serving(path, options=["--grpc-port", "0"]) as server,
        Peer(address_of(server)) as peer,
        PythonClient(f"http://127.0.0.1:{server.port}", model=name) as client,
    ):
        yield Served(name, path, fitted, mlrf.load(path), server, peer, client, None, folder)


@pytest.mark.slow
@pytest.mark.parametrize("code", CODES)
def test_a_code_is_treated_alike_at_every_entry_point(categorical, code):
    found = {}
    for name in BY_CODE:
        try:
            found[name] = ENTRY_POINTS[name](categorical, code)
        except MlrfError as error:
            found[name] = error.code
    assert len(set(found.values())) == 1, found
    answer = found["list"]
    if categorical.name == "histogram" and isinstance(answer, float):
        own = categorical.fitted.predict(np.array([[code, SECOND]]))[0]
        assert answer == pytest.approx(own, rel=1e-9)
    assert isinstance(answer, float) == (code == 1 or (categorical.name == "histogram" and code not in (0.5, math.inf)))

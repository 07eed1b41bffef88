"""The same row in every form that any entry point takes: one answer, to the bit."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass

import msgspec
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import mlrf
from arrow_streams import stream
from bundles import ALL_KINDS, rows_of, write_tree_bundle
from grpc_peer import Peer, address_of
from inference_wires import ParsedRequest, Tensor, wires
from mlrf.client import Client
from mlrf.core.schema import Schema
from running import Server, serving

NAMES = ALL_KINDS.names
ROWS = [
    {"price": 9.5, "count": 3, "promo": True, "store": "süd", "size": 20, "code": 7, "depth": 0.25},
    {"price": -0.1, "count": -40, "promo": False, "store": "north", "size": 30, "code": 0, "depth": 1e300},
    {"price": None, "count": None, "promo": None, "store": "east", "size": None, "code": None, "depth": -5e-324},
    {"price": 1 / 3, "count": 2**53, "promo": True, "store": None, "size": 10, "code": 9, "depth": 0},
]
ARROW = "application/vnd.apache.arrow.stream"


@dataclass
class Served:
    """A model in this process, and behind servers of several platforms."""

    model: mlrf.Model
    server: Server
    sagemaker: Server
    vertex: Server
    peer: Peer
    client: Client


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    # That a feature is optional must not change an answer that has a value for it.
    schema = Schema(
        tuple(msgspec.structs.replace(f, optional=f.name == "promo", default=None) for f in ALL_KINDS.features)
    )
    path = write_tree_bundle(tmp_path_factory.mktemp("forms") / "sample", schema=schema)
    with (
        serving(path, options=["--workers", "1", "--grpc-port", "0"]) as server,
        serving(path, options=["--workers", "1", "--platform", "sagemaker"]) as sagemaker,
        serving(path, options=["--workers", "1", "--platform", "vertex", "--predict-route", "/vertex"]) as vertex,
        Peer(address_of(server)) as peer,
        Client(f"http://127.0.0.1:{server.port}", model="sample") as client,
    ):
        yield Served(mlrf.load(path), server, sagemaker, vertex, peer, client)


def codes(row):
    """A row in schema order as numbers, categories as codes."""
    return [None if math.isnan(x) else x for x in ALL_KINDS.row(row)]


def canonical(row):
    """A row in schema order as a strict server takes it: booleans, integers and codes."""
    kinds = {"promo": bool, "price": float, "depth": float}
    return [x if x is None else kinds.get(name, int)(x) for name, x in zip(NAMES, codes(row), strict=True)]


def floats(row):
    """A row by name whose every number is a float, as a data frame of floats has it."""
    return {name: float(x) if isinstance(x, int) else x for name, x in row.items()}


def naming(row):
    """A row in schema order with the names of categories that are strings."""
    return [row[name] if isinstance(row[name], str) else x for name, x in zip(NAMES, codes(row), strict=True)]


def unnamed(row):
    """A row in schema order for a bare array, where the code of a size would be ambiguous."""
    return naming(row | {"size": None})


def post(path, body, find=lambda answer: answer["prediction"], content_type="application/json", server="server"):
    def ask(served, row):
        made = body(row)
        content = made if isinstance(made, bytes) else json.dumps(made).encode()
        answer = getattr(served, server).ask("POST", path, content, [f"Content-Type: {content_type}"])
        assert answer.status == 200, answer.json
        return find(json.loads(answer.body))

    return ask


def many(body, path="/predict/batch", **options):
    return post(path, body, lambda answer: answer["predictions"][-1], **options)


def infer(wire, *, by_feature=False):
    def ask(served, row):
        numbers = [math.nan if x is None else x for x in codes(row)]
        inputs = [Tensor("features", "FP64", numbers, [1, len(numbers)])]
        if by_feature:
            by_name = dict(zip(NAMES, numbers, strict=True)) | {
                "size": math.nan if row["size"] is None else row["size"]
            }
            inputs = [Tensor(name, "FP64", [x], [1]) for name, x in by_name.items() if name != "store"]
            inputs.append(Tensor("store", "BYTES", [row["store"]], [1]))
        found = wires(served.server, served.peer)[wire].infer(ParsedRequest(inputs, "sample"))
        assert not found.code, found
        return found.outputs["prediction"][0]

    return ask


def arrow(table, *, back=False):
    def ask(served, row):
        headers = [f"Content-Type: {ARROW}", *([f"Accept: {ARROW}"] if back else [])]
        answer = served.server.ask("POST", "/predict/batch", stream(table(row)), headers)
        assert answer.status == 200, answer.json
        if not back:
            return answer.json["predictions"][0]
        return pa.ipc.open_stream(answer.body).read_all()["prediction"][0].as_py()

    return ask


def python(rows):
    return lambda served, row: float(served.model.predict(rows(row))[0])


def of_client(rows):
    return lambda served, row: float(np.ravel(served.client.predict(rows(row)))[0])


def frame(row):
    integers = dict.fromkeys(("count", "size", "code"), "Int64")
    return pd.DataFrame([row]).astype({"store": "category", "promo": "boolean", **integers})


def csv(row, *, header):
    texts = ["" if row[n] is None else str(row[n]).lower() if n == "promo" else str(row[n]) for n in NAMES]
    return ((",".join(NAMES) + "\n" if header else "") + ",".join(texts) + "\n").encode()


ONE, CSV, V1 = "/predict", "text/csv", "/v1/models/sample:predict"
FORMS = {
    "array": post(ONE, lambda row: {"features": canonical(row)}),
    "array of floats": post(ONE, lambda row: {"features": codes(row)}),
    "array with names": post(ONE, lambda row: {"features": naming(row)}),
    "object": post(ONE, lambda row: {"features": row}),
    "object of floats": post(ONE, lambda row: {"features": floats(row)}),
    "object, strict parser": post(ONE, lambda row: {"features": row, "unknown_categories": "missing"}),
    "bare object": post(ONE, lambda row: dict(reversed(row.items()))),
    "bare object of floats": post(ONE, floats),
    "explain": post("/explain", floats),
    "batch": many(lambda row: {"instances": [{"features": row}, {"features": codes(row)}]}),
    "batch of bare objects": many(lambda row: {"instances": [floats(row), row]}),
    "batch of both": many(lambda row: {"instances": [{"features": row}, row]}),
    "bare batch": many(lambda row: [row, floats(row)]),
    "columns by name": many(lambda row: {name: [value, value] for name, value in row.items()}),
    "columns by name and row": many(
        lambda row: {"instances": {name: {"0": value, "1": value} for name, value in floats(row).items()}}
    ),
    "columns and data": many(lambda row: {"columns": list(row), "data": [list(row.values())]}),
    "columns and data of floats": many(
        lambda row: {"columns": list(row)[::-1], "data": [list(floats(row).values())[::-1]] * 2}
    ),
    "arrow": arrow(lambda row: pa.Table.from_pylist([row])),
    "arrow of pandas": arrow(lambda row: pa.Table.from_pandas(frame(row), preserve_index=False)),
    "arrow of polars, and back": arrow(lambda row: pl.DataFrame([row]).to_arrow(), back=True),
    "inference, JSON": infer("REST, JSON"),
    "inference, binary": infer("REST, binary"),
    "inference, gRPC values": infer("gRPC, values"),
    "inference, gRPC raw": infer("gRPC, raw"),
    "KServe v1": many(lambda row: {"instances": [row]}, V1),
    "KServe v1 of floats": many(lambda row: {"instances": [floats(row)]}, V1),
    "MLflow records": many(lambda row: {"dataframe_records": [floats(row)]}, "/invocations"),
    "MLflow split": many(
        lambda row: {"dataframe_split": {"columns": list(row), "data": [list(row.values())]}}, "/invocations"
    ),
    "MLflow inputs": many(lambda row: {"inputs": {name: [value] for name, value in row.items()}}, "/invocations"),
    "MLflow CSV": many(lambda row: csv(row, header=True), "/invocations", content_type=CSV),
    "SageMaker records": many(lambda row: {"instances": [{"features": row}]}, "/invocations", server="sagemaker"),
    "Vertex": many(lambda row: {"instances": [floats(row)]}, "/vertex", server="vertex"),
    "Client, record": of_client(lambda row: row),
    "Client, records": of_client(lambda row: [row, floats(row)]),
    "Client, pandas": of_client(frame),
    "Client, polars": of_client(lambda row: pl.DataFrame([row])),
    "list": python(lambda row: [canonical(row)]),
    "list with names": python(lambda row: [naming(row)]),
    "records": python(lambda row: [floats(row)]),
    "ndarray": python(lambda row: np.array([ALL_KINDS.row(row)])),
    "ndarray of objects": python(lambda row: np.array([naming(row)], object)),
    "pandas": python(frame),
    "pandas objects": python(lambda row: pd.DataFrame([row], dtype=object)),
    "polars": python(lambda row: pl.DataFrame([row])),
    "arrow table": python(lambda row: pa.Table.from_pylist([row])),
}
UNNAMED = {
    "canonical": post(ONE, lambda row: {"features": canonical(row | {"size": None})}),
    "bare array": post(ONE, unnamed),
    "bare array with codes": post(ONE, lambda row: codes(row | {"size": None})),
    "batch of arrays": many(lambda row: {"instances": [unnamed(row)] * 2}),
    "bare batch of arrays": many(lambda row: [unnamed(row), codes(row | {"size": None})]),
    "KServe v1": many(lambda row: {"instances": [unnamed(row)]}, V1),
    "MLflow instances": many(lambda row: {"instances": [unnamed(row)]}, "/invocations"),
    "SageMaker array": post("/invocations", lambda row: [unnamed(row)], lambda a: a[0], server="sagemaker"),
    "SageMaker CSV": post(
        "/invocations", lambda row: csv(row | {"size": None}, header=False), lambda a: a, CSV, "sagemaker"
    ),
    "Vertex": many(lambda row: {"instances": [unnamed(row)]}, "/vertex", server="vertex"),
    "list": python(lambda row: [unnamed(row)]),
}
"""Arrays without `features` around them."""
BY_FEATURE = {
    wire: infer(wire, by_feature=True) for wire in ("REST, JSON", "REST, binary", "gRPC, values", "gRPC, raw")
}
"""Tensors by feature; a string that is missing has no tensor form."""


def bits(number):
    return struct.pack("d", number).hex()


@pytest.mark.parametrize("row", ROWS, ids=range(len(ROWS)))
def test_a_row_has_one_answer_in_every_form(served, row):
    expected = bits(rows_of(served.model).predict_row(ALL_KINDS.row(row)))
    forms = FORMS if row["store"] is None else FORMS | BY_FEATURE
    assert {name: bits(ask(served, row)) for name, ask in forms.items()} == dict.fromkeys(forms, expected)


@pytest.mark.parametrize("row", ROWS, ids=range(len(ROWS)))
def test_an_unnamed_row_has_one_answer_in_every_form(served, row):
    expected = bits(rows_of(served.model).predict_row(ALL_KINDS.row(row | {"size": None})))
    assert {name: bits(ask(served, row)) for name, ask in UNNAMED.items()} == dict.fromkeys(UNNAMED, expected)

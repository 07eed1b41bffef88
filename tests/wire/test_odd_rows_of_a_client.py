"""Rows of every odd kind given to `mlrf.client.Client` of a real server: answered, or refused in mlrf's own words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from bundles import write_tree_bundle
from mlrf.client import Client
from mlrf.core.errors import MlrfError
from mlrf.core.manifest import LinkEntry
from odd_rows import EXAMPLE, ROWS, itself
from running import serving

RECORDS = {
    "no features": {},
    "pandas' NA": EXAMPLE | {"price": pd.NA},
    "a number of NumPy": EXAMPLE | {"price": np.float32(1.5)},
    "an array": EXAMPLE | {"price": np.zeros(3)},
    "NaN": EXAMPLE | {"price": math.nan},
    "an object": EXAMPLE | {"price": object()},
    "itself": EXAMPLE | {"price": itself()},
    "a set": EXAMPLE | {"price": {1}},
    "a decimal": EXAMPLE | {"price": Decimal("1.5")},
    "a big integer": EXAMPLE | {"price": 10**400},
    "complex": EXAMPLE | {"price": 1j},
    "a time": EXAMPLE | {"price": pd.Timestamp("2020-01-01")},
    "a lone surrogate": EXAMPLE | {"store": "\ud800"},
    "bytes": EXAMPLE | {"store": b"a"},
    "names that are numbers": {1: 2},
    "names that are tuples": {(1, 2): 3},
    "names that are None": {None: 3},
}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    bundle = tmp_path_factory.mktemp("odd") / "b"
    write_tree_bundle(bundle, task="binary", link=LinkEntry("sigmoid"), classes=["no", "yes"])
    with serving(bundle) as server, Client(f"http://127.0.0.1:{server.port}") as made:
        yield made


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")
@pytest.mark.parametrize("call", ["predict", "predict_proba", "explain"])
@pytest.mark.parametrize("kind", [*ROWS, *(f"a record: {kind}" for kind in RECORDS)])
def test_odd_rows_are_answered_or_refused_in_our_own_words(client, kind, call):
    rows = ROWS[kind]() if kind in ROWS else RECORDS[kind.removeprefix("a record: ")]
    try:
        getattr(client, call)(rows)
    except MlrfError as error:
        assert len(str(error)) < 500


@pytest.mark.parametrize("kind", RECORDS)
def test_odd_keys_and_rows_to_vary_are_refused_in_our_own_words(client, kind):
    record = RECORDS[kind]
    assert isinstance(record, Mapping)
    for call in (lambda: client.curve(record, "price"), lambda: client.by_key(record), lambda: client.by_key([record])):
        try:
            call()
        except MlrfError as error:
            assert len(str(error)) < 500

"""The asyncio client against real servers: what `Client` returns, in the container that came, with the same retries and errors."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from http.server import HTTPServer

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

import mlrf
from bundles import ALL_KINDS, write_tree_bundle
from mlrf.client import AsyncClient, ServerUnreachableError, retries
from mlrf.core.errors import ConfigError, DeadlineExceededError, OverloadedError, UnknownCategoryError
from mlrf.core.manifest import LinkEntry
from mlrf.testing import serving
from once_busy import OnceBusy

RECORD = dict(ALL_KINDS.example())
RECORDS = [RECORD, RECORD | {"price": None, "store": "east"}, RECORD | {"price": -1.5, "promo": False}]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    path = write_tree_bundle(
        tmp_path_factory.mktemp("async") / "b",
        task="binary",
        link=LinkEntry("sigmoid"),
        classes=["no", "yes"],
        groups={"offer": ["price", "promo"]},
    )
    with serving(path, options=("--max-infer-rows", "100", "--max-wait", "60", "--worker-timeout", "60")) as server:
        yield server, mlrf.load(path)


def run(served, ask, **options):
    async def main():
        async with AsyncClient(served[0].url, timeout_s=300, **options) as client:
            return await ask(client)

    return asyncio.run(main())


@pytest.mark.parametrize("kind", ["list", "numpy", "pandas", "polars", "pyarrow"])
def test_answers_are_the_models_in_the_container_that_came(served, kind):
    table = pa.Table.from_pylist(RECORDS * 70)
    coded = np.tile([[9.5, 3, 1, 1, 1, 7, 0.25], [np.nan, 3, 1, 2, 1, 7, 0.25]], (100, 1))
    rows = {
        "list": RECORDS * 70,
        "numpy": coded,
        "pandas": table.to_pandas(),
        "polars": pl.from_arrow(table),
        "pyarrow": table,
    }[kind]
    answer = run(served, lambda client: client.predict(rows), compress=True)
    assert type(answer).__module__.partition(".")[0] == (kind if kind != "list" else "numpy")
    values = answer.to_numpy() if hasattr(answer, "to_numpy") else answer
    np.testing.assert_array_equal(values, served[1].predict(rows))
    probabilities = run(served, lambda client: client.predict_proba(rows))
    assert probabilities.shape == (len(values), 2)


def test_every_method_returns_what_the_blocking_client_does(served):
    with served[0].client() as blocking:
        for ask in (
            lambda client: client.models(),
            lambda client: client.is_ready(),
            lambda client: client.predict(RECORD),
            lambda client: client.predict_proba(RECORD),
            lambda client: client.explain(RECORD, top=2),
            lambda client: client.explain(RECORD, groups=True),
        ):
            assert run(served, ask) == ask(blocking)
        curve = run(served, lambda client: client.curve(RECORD, "price"))
        assert curve.predictions == blocking.curve(RECORD, "price").predictions
        explained = run(served, lambda client: client.explain(RECORDS))
        np.testing.assert_array_equal(explained.values, blocking.explain(RECORDS).values)
        grouped = run(served, lambda client: client.explain(RECORDS, groups=True))
        assert grouped.feature_names[0] == "offer"
        np.testing.assert_array_equal(grouped.values, blocking.explain(RECORDS, groups=True).values)


def test_many_calls_at_once_each_get_their_own_answer(served):
    rows = [RECORD | {"price": index / 8} for index in range(200)]

    async def ask(client):
        return await asyncio.gather(*(client.predict(row) for row in rows))

    assert run(served, ask) == served[1].predict(rows).tolist()


def test_errors_are_the_servers_classes(served):
    with pytest.raises(UnknownCategoryError, match="store"):
        run(served, lambda client: client.predict(RECORD | {"store": "nowhere"}))
    with pytest.raises(ConfigError, match="not the URL of a server"):
        AsyncClient("localhost:8080")


@pytest.fixture
def busy(monkeypatch):
    monkeypatch.setattr(retries, "_LONGEST_WAIT_S", 0.02)
    OnceBusy.timeouts = []
    listener = HTTPServer(("127.0.0.1", 0), OnceBusy)
    threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{listener.server_port}"
    listener.shutdown()
    listener.server_close()


async def predicted(url, **options):
    async with AsyncClient(url, **options) as client:
        return await client.predict({"x": 1})


def test_retries_share_the_deadline_and_a_budget(busy):
    OnceBusy.refusals = 2
    assert asyncio.run(predicted(busy, timeout_s=300)) == 1.5
    assert len(OnceBusy.timeouts) == 3
    assert OnceBusy.timeouts == sorted(OnceBusy.timeouts, reverse=True)
    OnceBusy.refusals, OnceBusy.timeouts = 1_000_000, []

    async def many():
        async with AsyncClient(busy, timeout_s=300) as client:
            for _ in range(100):
                with pytest.raises(OverloadedError):
                    await client.predict({"x": 1})

    asyncio.run(many())
    assert len(OnceBusy.timeouts) <= 100 * 1.1 + 10


def test_a_closed_port_and_a_silent_server_are_distinguished():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(DeadlineExceededError):
            asyncio.run(predicted(url, timeout_s=0.2))
    # Bound, so that no other test gets the port meanwhile, but not listened on.
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(ServerUnreachableError, match="did not answer"):
            asyncio.run(predicted(f"http://127.0.0.1:{unused.getsockname()[1]}", retries=1))


def test_without_httpx_the_sentence_says_what_to_install():
    script = (
        "import sys; sys.modules['httpx'] = None\n"
        "from mlrf.client import AsyncClient\n"
        "from mlrf.core.errors import ConfigError\n"
        "try: AsyncClient('http://localhost:1')\n"
        "except ConfigError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=True)
    assert "pip install 'mlrf[httpx]'" in done.stdout

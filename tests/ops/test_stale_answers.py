"""Row 13: thousands of cached answers, then another version of the bundle, the old one again, and other rows: none is stale afterwards."""

from __future__ import annotations

import contextlib
import os

from bundles import write_tree_bundle
from mlrf.core.bundle import read_bundle
from mlrf.core.feature import Feature
from mlrf.core.publishing import publish, rollback
from mlrf.core.schema import Schema
from mlrf.model import load
from raw_http import Client, request
from running import eventually, serving

FULL = bool(os.environ.get("OPS_FULL"))
N_KEYS = 10_000 if FULL else 400
N_CONNECTIONS = 4
PIECE = 100
SCHEMA = Schema(tuple(Feature(f"x{i}", example=0.5) for i in range(3)))


def row(n, version=0):
    return [n / 700 - 5, version / 10, (n * 37 % 997) / 200 - 2]


def ask_all(clients, contents):
    """Every request on every connection: as many answers, in order, per connection."""
    found = []
    for client in clients:
        answers = []
        for first in range(0, len(contents), PIECE):
            piece = contents[first : first + PIECE]
            client.send(b"".join(piece))
            answers += [client.answer() for _ in piece]
        assert {a.status for a in answers} == {200}
        found.append([a.json for a in answers])
    return found


def warm(server, clients, contents, expected):
    for _ in range(3):
        found = ask_all(clients, contents)
    assert all([a["prediction"] for a in answers] == expected for answers in found)
    assert sum(a["cached"] for answers in found for a in answers) > 0.9 * len(clients) * len(contents)


def check_fresh(clients, contents, expected, version=None):
    """Current answers are right, whether the body was sent before on this connection or another."""
    for answers in ask_all(clients, contents):
        assert [a["prediction"] for a in answers] == expected
        assert version is None or {a["version"] for a in answers} == {version}


@contextlib.contextmanager
def connected(server):
    with contextlib.ExitStack() as opened:
        yield [opened.enter_context(server.client()) for _ in range(N_CONNECTIONS)]


def test_no_stale_answers_after_a_reload_is_acknowledged(tmp_path):
    first, second = (write_tree_bundle(tmp_path / str(seed), seed=seed, schema=SCHEMA) for seed in (7, 8))
    models, admin = tmp_path / "models", tmp_path / "admin.sock"
    model_directory, _ = publish(first, models)
    contents = [request("POST", "/predict", {"features": row(n)}) for n in range(N_KEYS)]
    rights = [load(path).predict([row(n) for n in range(N_KEYS)]).tolist() for path in (first, second)]
    short = [read_bundle(path).short_version for path in (first, second)]

    def take():
        with Client(admin) as client:
            client.socket.settimeout(30)
            assert client.ask("POST", "/admin/models/sample/load", b"").status == 200

    options = ["--admin", f"unix:{admin}", "--cache", "64MiB"]
    with serving(models, workers=2, options=options) as server, connected(server) as clients:
        server.booted(2)
        empty = eventually(lambda: server.metrics()["mlrf_cache_bytes"])
        warm(server, clients, contents, rights[0])
        assert server.metrics()["mlrf_cache_bytes"] > empty
        publish(second, models)
        take()
        # The bytes of the old version came back at once; nothing was asked of the new one yet.
        assert server.metrics()["mlrf_cache_bytes"] == empty
        check_fresh(clients, contents, rights[1], short[1])
        warm(server, clients, contents, rights[1])
        rollback(model_directory)
        take()
        check_fresh(clients, contents, rights[0], short[0])
        assert server.troubles == []


def test_no_stale_rows_after_a_push_is_acknowledged(tmp_path):
    path = write_tree_bundle(tmp_path / "b", schema=SCHEMA, key={"id": "integer"}, seed=7)
    model, admin = load(path), tmp_path / "admin.sock"
    contents = [request("POST", "/predict", {"key": {"id": n}}) for n in range(N_KEYS)]

    def push(version):
        names = [feature.name for feature in SCHEMA.features]
        with Client(admin) as client:
            client.socket.settimeout(30)
            for first in range(0, N_KEYS, 1_000):
                numbers = range(first, min(first + 1_000, N_KEYS))
                rows = [{"key": {"id": n}, "features": dict(zip(names, row(n, version), strict=True))} for n in numbers]
                answer = client.ask("POST", "/admin/models/sample/features", {"rows": rows})
                assert (answer.status, answer.json["written"]) == (200, len(rows))
        return model.predict([row(n, version) for n in range(N_KEYS)]).tolist()

    options = ["--admin", f"unix:{admin}", "--state-dir", str(tmp_path / "state"), "--cache", "64MiB"]
    with serving(path, workers=2, options=options) as server, connected(server) as clients:
        server.booted(2)
        for version in range(0, 30, 10):
            expected = push(version)
            check_fresh(clients, contents, expected)
            warm(server, clients, contents, expected)
        assert server.troubles == []

"""The environment of the rows: two versions of a model in a repository, a server with two workers, and the answers of each version."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bundles import ALL_KINDS, write_tree_bundle
from mlrf.core.bundle import read_bundle
from mlrf.core.publishing import publish, rollback
from mlrf.model import load
from raw_http import Client
from running import Server, serving

LOAD_LIMIT_S = 120.0


@dataclass(frozen=True)
class Stage:
    """A running server and what a row needs to know about it."""

    server: Server
    repository: Path
    admin: Path
    bodies: list[dict[str, object]]
    truth: dict[str, list[float]]
    """The answer of each version to each body."""
    versions: list[str]
    """The versions, the first at index 0."""

    def load(self, version: int | None = None) -> tuple[int, dict[str, object]]:
        """Put a version into service; return the status and the answer."""
        with Client(self.admin) as client:
            client.socket.settimeout(LOAD_LIMIT_S)
            body = {} if version is None else {"version": version}
            answer = client.ask("POST", "/admin/models/sample/load", body)
            return answer.status, json.loads(answer.body)


@contextlib.contextmanager
def staged(*options: str, n_bodies: int = 50, n_trees: int = 100, workers: int = 2) -> Iterator[Stage]:
    """Serve version 1 of two; both are in the repository, under numbers 1 and 2."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        paths = [write_tree_bundle(home / str(seed), seed=seed, n_trees=n_trees) for seed in (7, 8)]
        rows = [ALL_KINDS.example() | {"price": 0.01 * i, "count": i} for i in range(n_bodies)]
        truth = {read_bundle(p).short_version: load(p).predict(rows).tolist() for p in paths}
        for path in paths:
            model_directory, _ = publish(path, home / "models")
        rollback(model_directory)
        admin = home / "admin.sock"
        with serving(home / "models", workers=workers, options=["--admin", f"unix:{admin}", *options]) as server:
            server.booted(workers)
            bodies: list[dict[str, object]] = [{"features": row} for row in rows]
            versions = [read_bundle(paths[i]).short_version for i in (0, 1)]
            yield Stage(server, home / "models", admin, bodies, truth, versions)

"""The drill of a store's outage: a server follows the store, faults come and go, a version is published during each.

1. Every store stands behind a `FaultyProxy`; versions are published around it.
2. During a fault the served version stays, every answer is that version's, and `mlrf_model_store_up` is 0.
3. Afterwards the server gets to the new version, without a restart of itself, a worker or the fetcher.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Self

from bundles import ALL_KINDS, write_tree_bundle
from client_environment import MLFLOW
from faulty_proxy import FaultyProxy
from mlrf.core.bundle import read_bundle
from mlrf.core.publishing import publish
from mlrf.model import load
from raw_http import request
from running import Server, eventually, serving
from store_servers import (
    BUCKET,
    S3_VARIABLES,
    behind_a_proxy,
    file_server,
    mlflow_server,
    push,
    register,
    registry_server,
    s3_server,
)

POLL_S = 1.0
HARDLY_DOWN = ("trickling",)
"""Faults that need not be seen as an outage: data keep coming."""
REQUEST = {"features": ALL_KINDS.example()}


@dataclass(frozen=True)
class Store:
    """A store behind a proxy, how to publish to it, and what a server needs in its environment."""

    proxy: FaultyProxy
    address: str
    publish: Callable[[Path], object]
    environment: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@contextlib.contextmanager
def _https(home: Path, _bundles: Sequence[Path]) -> Iterator[Store]:
    (home / "models").mkdir()
    with file_server(home / "models") as proxy:
        yield Store(proxy, proxy.url, lambda bundle: publish(bundle, home / "models"))


@contextlib.contextmanager
def _s3(home: Path, _bundles: Sequence[Path]) -> Iterator[Store]:
    address = f"s3://{BUCKET}/models"
    with s3_server(home) as url, behind_a_proxy(url) as proxy:

        def put(bundle: Path) -> None:
            subprocess.run(
                [sys.executable, "-m", "mlrf", "publish", bundle, address],
                env={**os.environ, **S3_VARIABLES, "AWS_ENDPOINT_URL": url},
                check=True,
                capture_output=True,
            )

        yield Store(proxy, address, put, {**S3_VARIABLES, "AWS_ENDPOINT_URL": proxy.url})


@contextlib.contextmanager
def _oci(home: Path, _bundles: Sequence[Path]) -> Iterator[Store]:
    with registry_server(home) as (host, _process), behind_a_proxy(f"http://{host}") as proxy:
        name = "team/sample:prod"
        yield Store(proxy, f"oci://127.0.0.1:{proxy.port}/{name}", lambda bundle: push(host, bundle, name))


@contextlib.contextmanager
def _mlflow(home: Path, bundles: Sequence[Path]) -> Iterator[Store]:
    with mlflow_server(home) as url, behind_a_proxy(url) as proxy:
        register(url, "sample", bundles)

        def point(bundle: Path) -> None:
            alias = {"name": "sample", "alias": "prod", "version": str(list(bundles).index(bundle) + 1)}
            address = f"{url}/api/2.0/mlflow/registered-models/alias"
            content = json.dumps(alias).encode()
            urllib.request.urlopen(  # noqa: S310
                urllib.request.Request(address, content, {"Content-Type": "application/json"}),  # noqa: S310
                timeout=60,
            ).close()

        yield Store(proxy, "models:/sample@prod", point, _with_mlflow(home) | {"MLFLOW_TRACKING_URI": proxy.url})


def _with_mlflow(home: Path) -> dict[str, str]:
    """An environment in which this Python finds MLflow behind its own packages: the tests' environment has none."""
    [packages] = MLFLOW.parents[1].glob("lib/python3.*/site-packages")
    return _with_code(home, f"import sys\nsys.path.append({str(packages)!r})\n")


def _with_code(home: Path, code: str) -> dict[str, str]:
    """An environment in which every Python runs this code first."""
    (home / "start").mkdir(exist_ok=True)
    with (home / "start/sitecustomize.py").open("a") as file:
        file.write(code)
    return {"PYTHONPATH": str(home / "start")}


STORES = {"https": _https, "s3": _s3, "oci": _oci, "mlflow": _mlflow}


@dataclass
class Outage:
    """What was seen of one fault of one store."""

    store: str
    fault: str
    answers: int = 0
    wrong: list[object] = field(default_factory=list)
    restarts: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    """The log of the server from the fault to its end."""
    right_after_s: float = float("inf")
    """Seconds from the end of the fault to the first answer of the version that was published during it."""


class Asking(threading.Thread):
    """Asks without a pause, and compares every answer with the version that it names."""

    def __init__(self, server: Server, truth: Mapping[str, float]) -> None:
        super().__init__(daemon=True)
        self.server, self.truth = server, truth
        self.stopped = threading.Event()
        self.wrong: list[object] = []
        self.answers = 0

    def run(self) -> None:
        content = request("POST", "/predict", REQUEST)
        with self.server.client() as client:
            while not self.stopped.is_set():
                client.send(content)
                answer = client.answer()
                self.answers += 1
                if answer.status != 200 or self.truth.get(answer.json["version"]) != answer.json["prediction"]:
                    self.wrong.append(answer)
                time.sleep(0.002)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stopped.set()
        self.join(30)


def drill(kind: str, faults: Sequence[str], home: Path, *, limit_s: float = 60.0, broken_by: str = "") -> list[Outage]:
    """Put a store through faults, one after another, under a server; `broken_by` is Python that breaks the fetcher.

    A version that is not there `limit_s` seconds after a fault ends the drill.
    """
    bundles = [write_tree_bundle(home / f"version{i}", seed=7 + i) for i in range(len(faults) + 1)]
    truth = {read_bundle(path).short_version: float(load(path).predict([REQUEST["features"]])[0]) for path in bundles}
    with STORES[kind](home, bundles) as store:
        store.publish(bundles[0])
        environment = dict(store.environment) | (_with_code(home, broken_by) if broken_by else {})
        options = ("--state-dir", str(home / "state"), "--store-poll", str(POLL_S))
        with serving(Path(store.address), workers=2, options=options, environment=environment) as server:
            seen = []
            for fault, old, new in zip(faults, bundles, bundles[1:], strict=False):
                seen.append(_outage(server, store, Outage(kind, fault), (old, new), truth, limit_s))
                if seen[-1].right_after_s > limit_s:
                    break
            return seen


def _outage(
    server: Server,
    store: Store,
    outage: Outage,
    versions: tuple[Path, Path],
    truth: Mapping[str, float],
    limit_s: float,
) -> Outage:
    old, new = (read_bundle(each).short_version for each in versions)
    workers, known_events = server.booted(2), len(server.log)
    eventually(lambda: _is_up(server), what="the store reported as up")
    with Asking(server, truth) as asking:
        looks = store.proxy.requests
        store.proxy.fault = outage.fault
        store.publish(versions[1])
        if outage.fault in HARDLY_DOWN:
            eventually(lambda: store.proxy.requests > looks, what="a look during the fault")
        else:
            eventually(lambda: not _is_up(server), what="the store reported as down")
        if not server.is_ready() or _version(server) != old:
            outage.wrong.append(f"during {outage.fault}: ready {server.is_ready()}, version {_version(server)}")
        store.proxy.fault = ""
        ended_s = time.monotonic()
        with contextlib.suppress(TimeoutError):
            eventually(lambda: _version(server) == new, limit_s, "the new version after the fault")
            outage.right_after_s = time.monotonic() - ended_s
            eventually(lambda: _is_up(server), what="the store reported as up again")
    outage.answers = asking.answers
    outage.wrong += asking.wrong
    outage.events = [each["event"] for each in server.log[known_events:]]
    outage.restarts = [event for event in outage.events if event.endswith(" ended")]
    if not set(workers) <= set(server.workers()):
        outage.restarts.append("a worker is another process")
    return outage


def _is_up(server: Server) -> bool:
    return server.metrics()["mlrf_model_store_up"] == 1


def _version(server: Server) -> str:
    version: str = server.ask("POST", "/predict", REQUEST).json["version"]
    return version

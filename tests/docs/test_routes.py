"""The routes that are served, described for programs, shown to a person and told in docs/serving.md are the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bundles import write_bundle
from mlrf.core.bundle import read_bundle
from mlrf.serving.config.settings import ServeSettings
from mlrf.serving.models.service import Service
from mlrf.serving.pages import docs, openapi
from mlrf.serving.processes.load_requests import Loading
from mlrf.serving.processes.reload_board import ReloadBoard
from mlrf.serving.routes import LABELS, layout
from mlrf.serving.runtime.control_block import ControlBlock
from mlrf.serving.telemetry.exposition import Exposition
from mlrf.serving.telemetry.metrics import WorkerMeter

PAGE = Path(__file__).parents[2] / "docs/serving.md"


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("routes")
    keys = {"one": None, "two": {"id": "integer"}}
    return [read_bundle(write_bundle(folder / name, name=name, key=key)) for name, key in keys.items()]


@pytest.fixture(scope="module")
def service(bundles, tmp_path_factory):
    block = ControlBlock(1, layout(["one", "two"]).n_words)
    service = Service(
        bundles,
        ServeSettings(bundles=(Path("one"), Path("two")), state_dir=tmp_path_factory.mktemp("state")),
        WorkerMeter(layout(["one", "two"]), block.row(0)),
        Exposition(layout(["one", "two"]), block, [], "0"),
    )
    board = ReloadBoard(1, 0)
    Loading(board.asks[0], board.answers[0], 1.0, lambda: None, find=None).add_to(service.admin, ["one", "two"])
    return service


@pytest.fixture(scope="module")
def served(service):
    """Every (method, path) of a worker's public port."""
    return by_method(service.routes)


def by_method(routes):
    return {(method.decode(), path) for path, route in routes.items() for method in route.handlers}


def templates(served):
    return {
        (method, re.sub("/models/(one|two)(/|$)(versions/[0-9a-f]+(/|$))?", r"/models/{name}\2", path).rstrip("/"))
        for method, path in served
    }


def by_template(served):
    """The paths of `/v2`, which the contract describes once for all models and versions; the others as they are."""
    v2 = "^/v2/(repository/)?models/(one|two)(?=/|$)"
    return {
        (m, re.sub("versions/[0-9a-f]+", "versions/{version}", re.sub(v2, r"/v2/\1models/{name}", path)))
        for m, path in served
    }


def test_the_contract_has_every_route_and_no_other(bundles, served):
    paths = openapi.document(bundles, "one", "0", 100, ["one", "two"])["paths"]
    assert {
        (method.upper(), path) for path, methods in paths.items() for method in methods if method != "parameters"
    } == by_template(served)


def test_the_page_for_a_person_has_every_route_and_no_other(bundles, served):
    page = docs.page(bundles, "one", "0", 100).decode().partition("<h2>")[0]
    rows = re.findall(r"<tr><td>(\w+)</td><td><code>([^<]+)</code></td><td>(.*?)</td></tr>", page)
    shown = {(method, path) for method, path, _ in rows}
    ((method, by_name, text),) = [row for row in rows if row[1].startswith("/models/{name}")]
    shown |= {(method, by_name.replace("/predict", also)) for also in re.findall("<code>(/[^<]+)</code>", text)}
    # It need not name itself.
    assert shown | {("GET", "/docs")} == templates(served)


def told(title):
    section = PAGE.read_text(encoding="utf-8").partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    return {
        (method, path)
        for method, paths in re.findall(r"^\| (GET|POST) \| ([^|]+) \|", section, re.MULTILINE)
        for path in re.findall(r"`(/[^`]+)`", paths)
    }


def test_the_tables_have_every_route_and_no_other(service, served):
    assert told("Routes") == templates(served)
    assert told("Admin routes") == templates(by_method(service.admin.routes))


def test_every_label_has_a_route(service):
    routes = [*service.routes.values(), *service.admin.routes.values()]
    assert {route.label for route in routes} == set(LABELS) - {"other"}
    assert not [path for path in service.routes if path.startswith("/admin")]

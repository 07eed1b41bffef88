"""The routes that are served, described for programs, shown to a person and told in docs/serving.md are the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bundles import write_bundle
from mlrf.core.bundle import read_bundle
from mlrf.serving import docs_page, openapi
from mlrf.serving.control import ControlBlock
from mlrf.serving.metrics import Exposition, WorkerMeter
from mlrf.serving.service import LABELS, Service, layout
from mlrf.serving.settings import ServeSettings

PAGE = Path(__file__).parents[2] / "docs/serving.md"


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("routes")
    return [read_bundle(write_bundle(folder / name, name=name)) for name in ("one", "two")]


@pytest.fixture(scope="module")
def served(bundles):
    """Every (method, path) of a worker."""
    block = ControlBlock(1, layout().n_words)
    service = Service(
        bundles,
        ServeSettings(bundles=(Path("one"), Path("two"))),
        WorkerMeter(layout(), block.row(0)),
        Exposition(layout(), block, [], "0"),
    )
    assert {route.label for route in service.routes.values()} == set(LABELS) - {"other"}
    return {(method.decode(), path) for path, route in service.routes.items() for method in route.handlers}


def templates(served):
    return {(method, re.sub("^/models/(one|two)/", "/models/{name}/", path)) for method, path in served}


def test_the_contract_has_every_route_and_no_other(bundles, served):
    paths = openapi.document(bundles, "one", "0", 100)["paths"]
    assert {(method.upper(), path) for path, methods in paths.items() for method in methods} == served


def test_the_page_for_a_person_has_every_route_and_no_other(bundles, served):
    page = docs_page.page(bundles, "one", "0", 100).decode().partition("<h2>")[0]
    rows = re.findall(r"<tr><td>(\w+)</td><td><code>([^<]+)</code></td><td>(.*?)</td></tr>", page)
    shown = {(method, path) for method, path, _ in rows}
    ((method, by_name, text),) = [row for row in rows if "{name}" in row[1]]
    shown |= {(method, by_name.replace("/predict", also)) for also in re.findall("<code>(/[^<]+)</code>", text)}
    # It need not name itself.
    assert shown | {("GET", "/docs")} == templates(served)


def test_the_table_of_routes_has_every_route_and_no_other(served):
    section = PAGE.read_text(encoding="utf-8").partition("\n## Routes\n")[2].partition("\n## ")[0]
    told = {
        (method, path)
        for method, paths in re.findall(r"^\| (GET|POST) \| ([^|]+) \|", section, re.MULTILINE)
        for path in re.findall(r"`(/[^`]+)`", paths)
    }
    assert told == templates(served)

"""The same routes are served, described in OpenAPI, shown on /docs and listed in docs/reference/routes.md."""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import re
from pathlib import Path

import msgspec
import pytest

from bundles import write_bundle
from mlrf.core.bundle import read_bundle
from mlrf.core.errors import RequestError
from mlrf.serving import route_paths
from mlrf.serving import routes as table
from mlrf.serving.config.settings import ServeSettings
from mlrf.serving.error_encoder import ErrorEncoder
from mlrf.serving.error_status import TABLE, ErrorStatus, Routes, error_status_of
from mlrf.serving.http.router import HTML
from mlrf.serving.models import generation, route_building
from mlrf.serving.models.service import Service
from mlrf.serving.pages import docs, openapi
from mlrf.serving.processes.load_requests import ModelLoader
from mlrf.serving.processes.reload_messages import ReloadPages
from mlrf.serving.route_spec import OPEN, RouteSpec, Tag
from mlrf.serving.routes import layout, route_labels
from mlrf.serving.runtime.control_block import ControlBlock
from mlrf.serving.telemetry.exposition import Exposition
from mlrf.serving.telemetry.logs import Log
from mlrf.serving.telemetry.worker_meter import WorkerMeter

ALIASES = ("/", "/v2/")
"""The same as /docs and /v2."""
SERVING = Path(table.__file__).parent
PAGE = Path(__file__).parents[2] / "docs/reference/routes.md"


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("routes")
    keys = {"one": None, "two": {"id": "integer"}}
    return [read_bundle(write_bundle(folder / name, name=name, key=key)) for name, key in keys.items()]


def service_of(bundles, state_dir):
    counts = layout(["one", "two"])
    block = ControlBlock(1, counts.n_words)
    reload_pages = ReloadPages(1, 0)
    return Service(
        bundles,
        ServeSettings(bundles=(Path("one"), Path("two")), state_dir=state_dir),
        WorkerMeter(counts, block.row(0)),
        Exposition(counts, block, [], "0"),
        loader=ModelLoader(
            ["one", "two"], reload_pages.commands[0], reload_pages.outcomes[0], 1.0, lambda: None, find=None
        ),
    )


@pytest.fixture(scope="module")
def service(bundles, tmp_path_factory):
    return service_of(bundles, tmp_path_factory.mktemp("state"))


@pytest.fixture(scope="module")
def served(service):
    """Every (method, path) of a worker's public port."""
    return by_method(service.routes)


def by_method(routes):
    """Every (method, path) of routes; the files of the page at /ui are described as one."""
    return {
        (method.decode(), re.sub("^/ui/.+", "/ui/{file}", path))
        for path, route in routes.items()
        for method in route.handlers
    }


def templates(served):
    return {
        (method, re.sub("/models/(one|two)(/|:|$)(versions/[0-9a-f]+(/|$))?", r"/models/{name}\2", path).rstrip("/"))
        for method, path in served
        if path not in ALIASES
    }


def by_template(served):
    """The paths of `/v1` and `/v2` as in OpenAPI, which describes them once for all models and versions; the others unchanged."""
    v2 = "^/v([12])/(repository/)?models/(one|two)(?=/|:|$)"
    return {
        (m, re.sub("versions/[0-9a-f]+", "versions/{version}", re.sub(v2, r"/v\1/\2models/{name}", path)))
        for m, path in served
        if path not in ALIASES
    }


def test_the_contract_has_every_route_and_no_other(bundles, served):
    paths = openapi.document(bundles, "one", "0", 100, ["one", "two"])["paths"]
    assert {
        (method.upper(), path) for path, methods in paths.items() for method in methods if method != "parameters"
    } == by_template(served)


def test_the_page_for_a_person_has_every_route_and_no_other(bundles, served):
    page = docs.page(bundles, "one", "0", 100).decode().partition("<h2>")[0]
    rows = re.findall(r"<tr><td>(\w+)</td><td>(.*?)</td>", page)
    shown = {(method, path) for method, paths in rows for path in re.findall("<code>(/[^<]+)</code>", paths)}
    assert shown == templates(served)


def documented(title):
    section = PAGE.read_text(encoding="utf-8").partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    return {
        (method, path)
        for method, paths in re.findall(r"^\| (GET|POST) \| ([^|]+) \|", section, re.MULTILINE)
        for path in re.findall(r"`(/[^`]+)`", paths)
    }


def test_the_tables_have_every_route_and_no_other(service, served):
    assert documented("Routes") == templates(served)
    assert documented("Admin routes") == templates(by_method(service.admin_routes))


def test_every_label_has_a_route(service):
    routes = [*service.routes.values(), *service.admin_routes.values()]
    assert {route.label for route in routes} == set(route_labels(grpc=False)) - {"other"}
    assert not [path for path in service.routes if path.startswith("/admin")]


def test_the_methods_of_a_path_share_scope_and_media_type():
    for path in {spec.path for spec in table.ROUTES}:
        assert len({(s.scope, s.content_type) for s in table.ROUTES if s.path == path}) == 1


def test_every_operation_has_a_unique_id_tag_and_summary(bundles):
    paths = openapi.document(bundles, "one", "0", 100, ["one", "two"])["paths"]
    operations = [each for item in paths.values() for method, each in item.items() if method != "parameters"]
    assert len({each["operationId"] for each in operations}) == len(operations)
    assert all(each["tags"] and each["summary"] and each["responses"]["200"] for each in operations)


def test_a_route_declared_in_one_line_is_seen_everywhere(bundles, tmp_path, monkeypatch):
    ping = RouteSpec(
        "GET", "/answers", "Whether it answers", Tag.SERVER, lambda _g, _name: lambda _body: b"{}", scope=OPEN
    )
    page = RouteSpec("GET", "/page", "A page", Tag.SERVER, lambda _g, _name: lambda _body: b"<p>", content_type=HTML)
    monkeypatch.setattr(table, "ROUTES", (*table.ROUTES, ping, page))
    for module in (route_building, openapi, docs, generation):
        monkeypatch.setattr(module, "ROUTES", table.ROUTES)
    service = service_of(bundles, tmp_path)
    assert service.routes["/answers"].handlers[b"GET"](b"") == b"{}"
    counts = layout(["one", "two"])
    number = counts.number("/answers")
    assert service.routes["/answers"].number == number
    assert table.scopes(counts.routes)[number] == OPEN
    described = openapi.document(bundles, "one", "0", 100, [])["paths"]
    assert described["/answers"]["get"]["summary"] == "Whether it answers"
    assert described["/page"]["get"]["responses"]["200"]["content"] == {"text/html": {"schema": {"type": "string"}}}
    assert "<code>/answers</code></td><td>Whether it answers</td>" in docs.page(bundles, "one", "0", 100).decode()
    block = ControlBlock(1, counts.n_words)
    WorkerMeter(counts, block.row(0)).count_request(number, 200, 0.0)
    assert (
        b'mlrf_requests_total{route="/answers",model="-",status="200"} 1' in Exposition(counts, block, [], "0").text()
    )
    with pytest.raises(AssertionError, match="/answers"):
        test_the_tables_have_every_route_and_no_other(service, by_method(service.routes))


def written(text):
    """The texts in a module's code that begin like a path; those of f-strings too."""
    nodes = ast.walk(ast.parse(text))
    return {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str) and n.value[:1] == "/"}


def test_paths_are_written_once():
    """In the route table, or in the table of paths if other modules refer to them."""
    known = {path for spec in table.ROUTES for path in spec.templates}
    known |= {path.partition("{")[0] for path in known} - {"/"}
    shared = {path for path in vars(route_paths).values() if isinstance(path, str)}
    found = {
        str(file.relative_to(SERVING)): hits
        for file in SERVING.rglob("*.py")
        if file.name not in ("route_paths.py", "mounted_models.py")  # /models is a folder, too
        if (hits := written(file.read_text(encoding="utf-8")) & (shared if file.name == "routes.py" else known))
    }
    assert found == {}
    assert written('go("/predict", f"/models/{name}")') == {"/predict", "/models/"} <= known


def test_a_status_declared_in_one_line_is_seen_everywhere(bundles, monkeypatch):
    class TeapotError(RequestError, code="TEAPOT"):
        """A new status and a new route show up everywhere."""

    monkeypatch.setitem(
        TABLE,
        TeapotError,
        ErrorStatus(418, "I'm a Teapot", "INVALID_ARGUMENT", "A teapot", lambda _error: b"Tea: 1\r\n"),
    )
    counts = layout(["one"])
    block = ControlBlock(1, counts.n_words)
    meter = WorkerMeter(counts, block.row(0))
    status, body, headers = ErrorEncoder(Log("critical"), meter.count_refusal)(TeapotError("no coffee"), b"1")
    assert (status, headers, json.loads(body)["code"]) == (418, b"Tea: 1\r\n", "TEAPOT")
    meter.count_request(0, status, 0.0)
    text = Exposition(counts, block, [], "0").text()
    assert b'mlrf_requests_total{route="other",model="-",status="418"} 1' in text
    assert b'mlrf_refusals_total{code="TEAPOT",model="-"} 1' in text
    described = openapi.document(bundles, "one", "0", 100, [])["paths"]
    assert described["/predict"]["post"]["responses"]["418"]["description"] == "A teapot"
    monkeypatch.setitem(TABLE, TeapotError, msgspec.structs.replace(TABLE[TeapotError], routes=Routes.WITH_BODY))
    described = openapi.document(bundles, "one", "0", 100, [])["paths"]
    assert "418" in described["/predict"]["post"]["responses"]
    assert "418" not in described["/models"]["get"]["responses"]
    assert error_status_of(TeapotError("")).grpc == "INVALID_ARGUMENT"


def test_docs_page_forbids_other_scripts_and_framing(service, bundles):
    answer = service.routes["/docs"].handlers[b"GET"](b"")
    headers = dict(line.split(": ", 1) for line in answer.lines.decode().split("\r\n") if line)
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    assert "unsafe-inline" not in headers["Content-Security-Policy"]
    text = answer.decode()
    for tag, directive in (("script", "script-src"), ("style", "style-src")):
        (inline,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert policy[directive] == f"'sha256-{digest}'"
    assert not re.search(r"\son\w+=|\sstyle=", text), "neither would be run or applied"


def test_reference_lists_the_routes_that_need_no_key():
    text = (PAGE.parent / "server.md").read_text(encoding="utf-8")
    described = text.partition("needs a key, except those to")[2].partition("Send it as")[0]
    assert set(re.findall(r"`(/[^`]*)`", described)) == {
        "/",
        *(each.path for each in table.ROUTES if each.scope == OPEN),
    }

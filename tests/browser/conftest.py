"""The distribution's Chromium, driven by Playwright, and a server with models that a page must bear."""

from __future__ import annotations

import contextlib

import pytest

import mlrf
from bundles import ALL_KINDS, write_bundle, write_tree_bundle
from mlrf.core.feature import Feature, Kind
from mlrf.core.manifest import LinkEntry
from mlrf.core.schema import Schema
from page_visits import CHROMIUM, CLASSES, HOSTILE, Visit
from raw_http import Client
from running import serving


@pytest.fixture(scope="session")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    wide = Schema(tuple(Feature(f"feature {i}", example=0.5) for i in range(1000)))
    large = Schema(
        (Feature("place", Kind.CATEGORICAL, tuple(f"place {i}" for i in range(5000)), example="place 7"), Feature("n"))
    )
    numbers = Schema(tuple(Feature(f"x{i}", example=0.5) for i in range(4)))
    return {
        "trees": write_tree_bundle(folder / "trees", name="trees", link=LinkEntry("exp"), key={"id": "integer"}),
        "next": write_tree_bundle(
            folder / "next", name="next", link=LinkEntry("exp"), seed=8, n_trees=20, key={"id": "integer"}
        ),
        "binary": write_tree_bundle(
            folder / "binary", name="binary", task="binary", link=LinkEntry("sigmoid"), classes=["no", "yes"], n_trees=8
        ),
        "classes": write_tree_bundle(
            folder / "classes", name="classes", schema=numbers, n_outputs=20, task="multiclass", n_trees=40,
            link=LinkEntry("softmax"), classes=CLASSES,
        ),
        "classes-next": write_tree_bundle(
            folder / "classes-next", name="classes-next", schema=numbers, n_outputs=20, task="multiclass", n_trees=40,
            link=LinkEntry("softmax"), classes=CLASSES, seed=8,
        ),
        "wide": write_tree_bundle(folder / "wide", name="wide", schema=wide, n_trees=60),
        "large": write_tree_bundle(folder / "large", name="large", schema=large),
        "hostile": write_tree_bundle(folder / "hostile", name="hostile", schema=HOSTILE),
        "graph": write_bundle(folder / "graph", name="graph"),
    }  # fmt: skip


@pytest.fixture(scope="session")
def models(paths):
    return {name: mlrf.load(path) for name, path in paths.items()}


@pytest.fixture(scope="session")
def server(paths, tmp_path_factory):
    folder = tmp_path_factory.mktemp("state")
    options = ["--state-dir", str(folder / "state"), "--admin", f"unix:{folder / 'admin.sock'}", "--default", "trees"]
    with serving(*paths.values(), options=options) as running:
        rows = [{"key": {"id": 7}, "features": ALL_KINDS.example() | {"price": 1.25, "store": None}, "as_of": None}]
        with Client(folder / "admin.sock") as admin:
            assert admin.ask("POST", "/admin/models/trees/features", {"rows": rows}).status == 200
        yield running


@pytest.fixture(scope="session")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
    if CHROMIUM is None:
        pytest.skip("no browser: apt install chromium")
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield launched
        launched.close()


@pytest.fixture
def visit(browser, server):
    origin = f"http://127.0.0.1:{server.port}"
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    context.set_default_timeout(60_000)
    seen = Visit(context.new_page(), origin)
    seen.page.on("console", lambda m: seen.console.append(m.text) if m.type in ("error", "warning") else None)
    seen.page.on("pageerror", lambda error: seen.console.append(str(error)))
    seen.page.on(
        "request",
        lambda r: None if r.url.startswith((seen.origin, "data:", "blob:")) else seen.foreign.append(r.url),
    )
    yield seen
    with contextlib.suppress(Exception):
        context.close()
    assert [m for m in seen.console if not any(part in m for part in seen.expected)] == []
    assert seen.foreign == []

"""A page is a module with `response`: made at the first request, once for all routes to it, and found by the name in `ROUTES`."""

from __future__ import annotations

import sys
from types import ModuleType

from bundles import write_tree_bundle
from mlrf.core.bundle import read_bundle
from mlrf.serving.pages.page_facts import PageFacts
from mlrf.serving.pages.page_loader import PageLoader


def test_a_page_is_a_module_that_is_made_once(tmp_path, monkeypatch):
    made = []
    page = ModuleType("page")
    page.response = lambda facts: made.append(facts) or b"<p>%b" % facts.default.encode()
    monkeypatch.setitem(sys.modules, "mlrf.serving.pages.new_page", page)
    bundle = read_bundle(write_tree_bundle(tmp_path / "b"))
    facts = PageFacts([bundle], bundle.name, (bundle.name,), "0", 100, None, has_keys=False)
    pages = PageLoader(facts)
    handler = pages.handler("new_page")
    assert made == []
    assert handler(b"") == pages.handler("new_page")(b"") == b"<p>sample"
    assert made == [facts]

"""A page of a browser, what it must not have done, and names that a page must bear."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from typing import Any

from mlrf.core.feature import Feature, Kind
from mlrf.core.schema import Schema

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MARKUP = '<img src=x onerror="document.title=1">'
"""What a name must never be to a page."""
HOSTILE = Schema(
    (
        Feature(MARKUP, Kind.CATEGORICAL, ("</script><b>x</b>", "a,b", 'quo"te', "é ü"), example="a,b"),
        Feature("__proto__", Kind.NUMERIC, example=1.5),
        Feature("constructor", Kind.BOOLEAN, example=True),
        Feature("10", Kind.INTEGER, example=3),
        Feature("2", Kind.NUMERIC, example=0.5),
    )
)
CLASSES = [f"class {i}" for i in range(20)]


@dataclass
class Visit:
    """A page of a browser, and what it must not have done."""

    page: Any
    origin: str
    console: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)
    """Parts of console messages that a test provokes."""

    def open(self, model: str = "trees", fragment: str = "") -> Any:
        """Open the page and wait for an answer of the model."""
        self.page.goto(f"{self.origin}/ui{fragment}")
        self.page.wait_for_selector("#prediction:not(:empty)")
        if not fragment and model != self.page.input_value("#model"):
            self.page.select_option("#model", model)
        self.settle()
        return self.page

    def settle(self) -> None:
        """Wait until no answer is awaited."""
        self.page.wait_for_selector("html[data-busy=false]")

    def until(self, selector: str, text: str) -> None:
        """Wait until an element holds a text."""
        self.page.locator(selector).filter(has_text=text).first.wait_for()


def table(page: Any) -> dict[str, list[str]]:
    """The table of every feature: the cells by feature."""
    if page.locator("#numbers").get_attribute("open") is None:
        page.click("#numbers > summary")
    page.wait_for_selector("#numbers tbody tr")
    rows = page.eval_on_selector_all("#numbers tbody tr", "all => all.map(r => [...r.cells].map(c => c.textContent))")
    return {cells[0]: cells[1:] for cells in rows}


def enter(visit: Visit, label: str, text: str) -> None:
    visit.page.get_by_label(label, exact=True).fill(text)
    visit.settle()


def explained(server: Any, row: dict[str, Any], model: str = "trees") -> Any:
    """The answer of /explain for a row."""
    return server.ask("POST", f"/models/{model}/explain", {"features": row}).json

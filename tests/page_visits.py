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

"""The handlers of pages: a page is a module of this package with a function `response`, and a line of `ROUTES` that names it.

A page is imported and made when it is first requested, as most servers are never asked for one, and is kept for later requests.
"""

from __future__ import annotations

from importlib import import_module

from mlrf.serving.pages.page_facts import PageFacts
from mlrf.serving.runtime.results import Handler


class PageLoader:
    """The handlers of the pages of one generation of models, by the names of their modules."""

    def __init__(self, facts: PageFacts) -> None:
        self._facts = facts
        self._handlers: dict[str, Handler] = {}

    def handler(self, name: str) -> Handler:
        """Return the handler of the page in the module `name`; the same for every route to it."""
        if name not in self._handlers:
            self._handlers[name] = _once(name, self._facts)
        return self._handlers[name]


def _once(name: str, facts: PageFacts) -> Handler:
    made: list[bytes] = []

    def answer(_body: bytes) -> bytes:
        if not made:
            response: bytes = import_module(f"{__package__}.{name}").response(facts)
            made.append(response)
        return made[0]

    return answer

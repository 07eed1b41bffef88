"""The part of the page at `/docs` about the models, which that page fetches with a key if the server has keys."""

from __future__ import annotations

from mlrf.serving.http.router import HTML, Framed
from mlrf.serving.pages import docs
from mlrf.serving.pages.page_facts import PageFacts


def response(facts: PageFacts) -> bytes:
    """Return the response of this part of the page."""
    return Framed(docs.models_part(facts.bundles, facts.default), HTML, docs.HEADERS)

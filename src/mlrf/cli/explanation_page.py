"""Writes explained rows as one self-contained HTML file, without scripts or addresses, and with a policy that forbids them.

Every text from a bundle or a file of rows is escaped by `element`, so that a name with `</script>` or `</style>` remains text.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from mlrf.model.drawing import RowContributions, waterfall_svg
from mlrf.model.drawing.contributions import shortened, value_text
from mlrf.model.drawing.markup import Markup, element, table

MOST_ROWS = 100
"""Most rows on a page, each with a drawing and a table of all features."""
_NAME_CHARS = 200
_STYLE = Markup(
    ":root{color-scheme:light dark}body{font:16px/1.45 system-ui,sans-serif;max-width:60rem;margin:1.5rem auto;padding:0 1rem}"
    "svg{max-width:100%;height:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}"
    "td,th{text-align:left;padding:.15rem .8rem .15rem 0;border-bottom:1px solid #8884;overflow-wrap:anywhere}"
    "section{break-inside:avoid;margin-bottom:2rem}"
)
_SOURCE = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_SOURCE}'; connect-src 'none'; base-uri 'none'; form-action 'none'"


class ExplainedRow(NamedTuple):
    """A row of the page."""

    title: str
    contributions: RowContributions


def explanation_page(title: str, rows: Sequence[ExplainedRow], top: int) -> str:
    """Return the page as text: for each row the `top` largest contributions as a drawing, and all of them as a table."""
    head = element(
        "head",
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
        element("title", title),
        element("style", _STYLE),
    )
    intro = element(
        "p",
        "Each drawing leads from the model's average over its training rows (the base) to the margin of the row, from "
        "which the prediction is computed. The contributions are exact Shapley values.",
    )
    body = element("body", element("h1", title), intro, *(_section(row, top) for row in rows))
    return f"<!doctype html>{element('html', head, body, lang='en')}\n"


def _section(row: ExplainedRow, top: int) -> Markup:
    found = row.contributions
    order = sorted(range(len(found.contributions)), key=lambda f: -abs(found.contributions[f]))
    names = list(found.values)
    cells = [["base", "", repr(found.base)]]
    cells += [
        [shortened(names[f], _NAME_CHARS), value_text(found.values[names[f]]), repr(found.contributions[f])]
        for f in order
    ]
    cells.append(["margin", "", repr(found.margin)])
    return element(
        "section",
        element("h2", row.title),
        waterfall_svg(found, top, title=row.title),
        element(
            "details",
            element("summary", "Every feature as a table"),
            table(cells, ["feature", "value", "contribution"]),
        ),
    )

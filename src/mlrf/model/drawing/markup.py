"""Builds elements of SVG and HTML as text, in which attributes and texts are escaped."""

from __future__ import annotations

from html import escape
from typing import Any

from mlrf.core.value_text import printable


class Markup(str):
    """Text that is markup already; any other text is escaped when it is put into an element."""

    __slots__ = ()


def element(tag: str, *children: str, **attributes: Any) -> Markup:
    """Return an element; `class_` is the attribute class, `stroke_width` the attribute stroke-width."""
    pairs = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{_text(_number(value))}"' for name, value in attributes.items()
    )
    inner = "".join(child if isinstance(child, Markup) else _text(child) for child in children)
    return Markup(f"<{tag}{pairs}>{inner}</{tag}>")


def svg_element(title: str, width: int, height: int, *children: Markup) -> Markup:
    """Return an SVG element of a size in pixels, with a title for screen readers, in the colour of the text around it."""
    return element(
        "svg",
        element("title", title),
        *children,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
        role="img",
        font_family="sans-serif",
        font_size="13",
        fill="currentColor",
    )


def table(rows: list[list[str]], header: list[str] | None = None) -> Markup:
    """Return an HTML table; a row's cells are text or markup."""
    lines = [element("tr", *(element("td", cell) for cell in row)) for row in rows]
    if header is not None:
        lines.insert(0, element("tr", *(element("th", cell) for cell in header)))
    return element("table", *lines)


def _text(text: str) -> str:
    return escape(printable(text), quote=True)


def _number(value: Any) -> str:
    # Two decimals of a pixel are enough, and keep a drawing of many bars short.
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)

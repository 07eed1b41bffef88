"""Decodes response curves from a server's answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlrf.core.feature import Kind
from mlrf.model.curve import Axis, Curve


def read_curve(answer: Mapping[str, Any]) -> Curve:
    """Return the curve in a response of `/curve`."""
    axes = (
        Axis(each["feature"], Kind(each["kind"]), each["cuts"], each["values"], each["at"]) for each in answer["axes"]
    )
    return Curve(tuple(axes), answer["margins"], answer["predictions"])

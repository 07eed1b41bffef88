"""Axes of a new matplotlib figure, and text that matplotlib draws literally."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlrf.core.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def new_axes(inches_wide: float, inches_tall: float) -> Axes:
    """Return the axes of a new figure; ConfigError when matplotlib is not installed."""
    try:
        from matplotlib import pyplot as plt  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError("matplotlib is not installed; pip install matplotlib, or use to_svg()") from error
    _, axes = plt.subplots(figsize=(inches_wide, inches_tall), layout="constrained")
    return axes


def plain(text: str) -> str:
    """Return a text whose dollar signs do not start a formula."""
    return text.replace("$", r"\$")

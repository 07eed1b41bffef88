"""The leniency of the commands that read files of rows."""

from __future__ import annotations

from typing import Annotated

import typer

from mlrf.core.errors import ConfigError
from mlrf.core.leniency import Leniency

UnknownCategoriesOption = Annotated[
    str,
    typer.Option(help="What to do with unknown categories: `refuse`, treat as `missing`, or predict `as-library`."),
]


def leniency_of(unknown_categories: str) -> Leniency:
    """Return the leniency for rows of files: extra columns are ignored, unknown categories handled as the option says."""
    if unknown_categories not in ("refuse", "missing", "as-library"):
        raise ConfigError(f"--unknown-categories is `refuse`, `missing` or `as-library`, not {unknown_categories!r}")
    return Leniency("ignore", unknown_categories, "command line", natural=True)  # type: ignore[arg-type]

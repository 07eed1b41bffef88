"""The argument that names a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlrf.cli.path_arguments import non_empty_path

BundleArgument = Annotated[
    Path,
    typer.Argument(
        help="A bundle that `mlrf build` made, or a model of a repository: REPOSITORY/NAME, REPOSITORY/NAME@VERSION.",
        parser=non_empty_path,
        metavar="bundle",
    ),
]

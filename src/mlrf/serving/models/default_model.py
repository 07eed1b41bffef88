"""Which of the served models answers where a request names none."""

from __future__ import annotations

from collections.abc import Sequence

from mlrf.core.errors import ConfigError
from mlrf.core.repeated_names import first_repeated


def default_name(names: Sequence[str], requested: str | None) -> str:
    """Return the default model; raises ConfigError if it is not served or two models share a name."""
    if (twice := first_repeated(names)) is not None:
        raise ConfigError(
            f"two bundles are named {twice!r}; build one of them under another --name, or serve a version of a repository, "
            "REPOSITORY/NAME@VERSION",
            option="BUNDLE",
        )
    if requested is None:
        return names[0]
    if requested not in names:
        raise ConfigError(
            f"--default: no bundle is named {requested!r}; the models are {', '.join(names)}", option="--default"
        )
    return requested

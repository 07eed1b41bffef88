"""The folders of a bundle's local stores under the state directory. Opens nothing, so that the arbiter may use it.

    STATE_DIR/features/MODEL/ROWS/rows/               the live rows: an LMDB environment
    STATE_DIR/features/MODEL/ROWS/explanations-FILE/  contributions by key, of one explanations.parquet

ROWS identifies schema, key and the bundle's rows. A bundle with another schema or other rows therefore gets another store, and
that of the bundle it replaces is used again after a rollback. A model that was retrained with the same rows keeps its store,
with all rows pushed since.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from mlrf.core.manifest import EXPLANATIONS, FEATURES

if TYPE_CHECKING:
    from mlrf.core.bundle import Bundle
    from mlrf.features.row_format import RowFormat

_DIGITS = 16
SEEDED = "seeded"
"""Marker file of an environment that holds the rows of its bundle."""


class LocalFolders(msgspec.Struct, frozen=True):
    """The folders of one bundle's rows and explanations."""

    rows: Path
    explanations: Path | None
    """None if the bundle has no explanations."""

    def is_seeded(self, bundle: Bundle, *, shared: bool = False) -> bool:
        """Return whether rows and explanations of the bundle have been imported; rows are not required if they are `shared`."""
        return (shared or self.has_rows(bundle)) and self.has_explanations()

    def has_rows(self, bundle: Bundle) -> bool:
        """Whether the bundle's rows have been imported, or it has none."""
        return FEATURES not in bundle.manifest.files or (self.rows / SEEDED).exists()

    def has_explanations(self) -> bool:
        """Whether the bundle's explanations have been imported, or it has none."""
        return self.explanations is None or (self.explanations / SEEDED).exists()


def local_folders(state_dir: Path, bundle: Bundle, rows: RowFormat) -> LocalFolders:
    """Return the folders of a bundle's local stores."""
    files = bundle.manifest.files
    own = files[FEATURES].sha256 if FEATURES in files else ""
    identity = hashlib.sha256(f"{rows.digest}:{own}".encode()).hexdigest()[:_DIGITS]
    folder = state_dir / "features" / bundle.manifest.name / identity
    explanations = None
    if EXPLANATIONS in files:
        explanations = folder / f"explanations-{files[EXPLANATIONS].sha256[:_DIGITS]}"
    return LocalFolders(folder / "rows", explanations)


def default_state_dir() -> Path:
    """Return the default state directory: the service manager's, the user's, or, without a home, /var/lib/mlrf."""
    given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if given:
        return Path(given)
    home = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    try:
        return Path(home).expanduser() / "mlrf"
    except RuntimeError:  # a container's user who is not in the password file
        return Path("/var/lib/mlrf")

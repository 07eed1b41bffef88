"""Where a bundle's rows lie under the state directory. Opens nothing: an arbiter may ask.

    STATE_DIR/features/MODEL/ROWS/rows/               the live rows: an LMDB environment
    STATE_DIR/features/MODEL/ROWS/explanations-FILE/  contributions by key, of one explanations.parquet

ROWS stands for schema, key and the bundle's own rows. So a bundle with another schema or other rows begins with a store of
its own, beside that of the bundle it replaces, and goes back to it on a rollback; a model that was trained anew on the same
rows keeps them, with all that was pushed since.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from mlrf.core.bundle import Bundle
from mlrf.core.manifest import EXPLANATIONS, FEATURES
from mlrf.features.row_format import RowFormat

_SHARED_SCHEMES = ("redis://", "rediss://", "unix://")
_DATABASE = re.compile(r"/?|/[0-9]+")
_DIGITS = 16
SEEDED = "seeded"
"""The file that says that an environment holds what its bundle brought."""


@dataclass(frozen=True, slots=True)
class StoreLocation:
    """The directories of one bundle's rows and explanations."""

    rows: Path
    explanations: Path | None
    """None where the bundle brings none."""

    def is_seeded(self, bundle: Bundle, *, shared: bool = False) -> bool:
        """Whether all that the bundle brings has been taken; its rows do not count where they are `shared`."""
        return (shared or self.has_rows(bundle)) and self.has_explanations()

    def has_rows(self, bundle: Bundle) -> bool:
        """Whether the bundle's rows have been taken, or it brings none."""
        return FEATURES not in bundle.manifest.files or (self.rows / SEEDED).exists()

    def has_explanations(self) -> bool:
        """Whether the bundle's explanations have been taken, or it brings none."""
        return self.explanations is None or (self.explanations / SEEDED).exists()


def store_location(state_dir: Path, bundle: Bundle, rows: RowFormat) -> StoreLocation:
    """Return where the rows of a bundle lie."""
    files = bundle.manifest.files
    own = files[FEATURES].sha256 if FEATURES in files else ""
    identity = hashlib.sha256(f"{rows.digest}:{own}".encode()).hexdigest()[:_DIGITS]
    folder = state_dir / "features" / bundle.name / identity
    explanations = None
    if EXPLANATIONS in files:
        explanations = folder / f"explanations-{files[EXPLANATIONS].sha256[:_DIGITS]}"
    return StoreLocation(folder / "rows", explanations)


def wrong_in_address(url: str) -> str | None:
    """Return what is wrong with the address of a store that machines share, None when nothing is; never the address itself."""
    if not url.startswith(_SHARED_SCHEMES):
        return f"the address of a shared store begins with {', '.join(_SHARED_SCHEMES)}"
    if url.startswith("unix://"):
        return None
    try:
        parts = urlsplit(url)
        port_is_one = parts.port != 0
    except ValueError:
        return "the address is no redis://HOST:PORT/DATABASE"
    if not port_is_one or _DATABASE.fullmatch(parts.path) is None:
        return "the address is no redis://HOST:PORT/DATABASE: the last two are numbers"
    return None


def default_state_dir() -> Path:
    """Return where state lies unless told otherwise: the service manager's directory, else the user's."""
    given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if given:
        return Path(given)
    home = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(home).expanduser() / "mlrf"

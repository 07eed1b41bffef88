"""The files of TLS, as the settings name them."""

from __future__ import annotations

from pathlib import Path

import msgspec

from mlrf.serving.auth.file_watch import fingerprint


class TlsFiles(msgspec.Struct, frozen=True):
    """A certificate chain, its key, and the authorities of client certificates (None: no client certificate needed)."""

    cert: Path
    key: Path
    client_ca: Path | None = None

    def fingerprint(self) -> tuple[object, ...]:
        """Return a value that changes when one of the files does."""
        return tuple(fingerprint(path) for path in (self.cert, self.key, self.client_ca) if path is not None)

"""TLS, keys and allowed origins of a process, reloaded when their files change.

The arbiter has one too, which workers inherit, so that a worker started while a file is damaged starts with the previous state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mlrf.core.errors import ConfigError
from mlrf.serving.auth.admin_guard import AdminGuard
from mlrf.serving.auth.cors import Cors
from mlrf.serving.auth.guard import Guard, reload_keys
from mlrf.serving.auth.settings import AuthSettings
from mlrf.serving.auth.tls import Tls
from mlrf.serving.http.server import HttpServer
from mlrf.serving.telemetry.logs import Log

if TYPE_CHECKING:
    from mlrf.serving.auth.keys import KeyRing


class AccessControl:
    """TLS, keys and origins of one process."""

    def __init__(self, settings: AuthSettings, handshake_timeout_s: float, scopes: Mapping[int, str], log: Log) -> None:
        """Read the files; raises ConfigError for an invalid one. `scopes` holds the scope of each route by number."""
        self._scopes = scopes
        self._handshake_timeout_s = handshake_timeout_s
        self._settings = settings
        self._log = log
        files = settings.tls_files
        self.tls = None if files is None else Tls(files)
        """The TLS context of listeners; None without TLS."""
        self._ring: KeyRing | None = None
        if settings.keys is not None:
            from mlrf.serving.auth.keys import KeyRing  # noqa: PLC0415  many servers have none

            self._ring = KeyRing(settings.keys)

    def apply(self, server: HttpServer) -> None:
        """Apply TLS, keys and origins to a public server."""
        server.guard = self.guard()
        server.cors = Cors(self._settings.cors_origin) if self._settings.cors_origin else None
        if self.tls is not None:
            server.tls_options = {"ssl": self.tls.context, "ssl_handshake_timeout": self._handshake_timeout_s}

    def guard(self) -> Guard:
        """Return the guard of a port, for any transport."""
        return Guard(self._ring, self._scopes, self._log)

    def admin_guard(self) -> AdminGuard:
        """Return the guard of an admin listener that is a port."""
        return AdminGuard(self._ring, self._scopes, self._log)

    def refresh(self) -> None:
        """Reload certificates that changed on disk; call it twice a second."""
        if self.tls is None:
            return
        try:
            if self.tls.refresh():
                self._log.info("certificates reloaded")
        except ConfigError as error:
            self._log.error(
                "certificates not read",
                reason=str(error),
                remedy=("correct the files; until then the old certificates stay in use"),
            )

    def refresh_all(self) -> None:
        """Reload changed certificates and keys; for a process without a server that reloads the keys itself."""
        self.refresh()
        if self._ring is not None:
            reload_keys(self._ring, self._log)

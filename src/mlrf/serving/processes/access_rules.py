"""The access rules of a server's settings, and a warning if they leave a port open to other machines."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from mlrf.serving.auth.access_control import AccessControl
from mlrf.serving.config.settings import ServeSettings
from mlrf.serving.routes import scopes
from mlrf.serving.telemetry.logs import Log
from mlrf.serving.telemetry.metric_positions import Layout


def access_control(settings: ServeSettings, layout: Layout, log: Log) -> AccessControl:
    """Return TLS, keys and origins according to the settings; ConfigError for an invalid file."""
    return AccessControl(settings.access, settings.limits.header_timeout_s, scopes(layout.routes), log)


def warn_if_open(settings: ServeSettings, listeners: Sequence[socket.socket], log: Log) -> None:
    """Warn if a listener is reachable from other machines while no key is required."""
    for host in sorted({str(listener.getsockname()[0]) for listener in listeners}):
        if (exposed := settings.access.exposed(host)) is not None:
            log.warning("reachable without a key", reason=exposed)

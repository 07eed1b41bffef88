"""The address of the admin listener: a Unix socket's path, or a host and port of this machine."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path

import msgspec

from mlrf.core.errors import ConfigError

UNIX = "unix:"
_MAX_PATH_BYTES = 100
"""A little less than the kernel's limit (108), because the socket is created under a longer name and then renamed."""
_MAX_PORT = 65535


class AdminAddress(msgspec.Struct, frozen=True):
    """The address of the admin listener: a path, or a host and port."""

    path: Path | None = None
    host: str = ""
    port: int = 0

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        if self.path is not None or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_admin(text: str) -> AdminAddress:
    """Return the address of `--admin`; ConfigError if it is invalid, or if others could reach it without a key."""
    if text.startswith(UNIX):
        path = text.removeprefix(UNIX).removeprefix("//")
        if not path or len(os.fsencode(path)) > _MAX_PATH_BYTES:
            raise ConfigError(f"--admin: the path of {text!r} is not 1 to {_MAX_PATH_BYTES} bytes", option="--admin")
        return AdminAddress(path=Path(os.path.abspath(path)))  # noqa: PTH100  a link at the path is checked later
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > _MAX_PORT:
        raise ConfigError(f"--admin: {text!r} is neither unix:/PATH nor HOST:PORT", option="--admin")
    address = AdminAddress(host=host.removeprefix("[").removesuffix("]"), port=int(port))
    if not address.is_local:
        raise ConfigError(
            f"--admin: {text} can be reached from other machines; use a Unix socket (unix:/run/mlrf/admin.sock) or "
            f"127.0.0.1:{port}",
            option="--admin",
        )
    return address

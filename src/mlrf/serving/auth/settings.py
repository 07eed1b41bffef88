"""Options of TLS, keys and origins, and the checks between them."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import msgspec

from mlrf.core.errors import ConfigError
from mlrf.serving.auth.cors import check_origin
from mlrf.serving.auth.tls_files import TlsFiles
from mlrf.serving.option import Group, option

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""The usual hosts; whether another one can be reached only from this machine is looked up in its address."""


class AuthSettings(msgspec.Struct, frozen=True):
    """Options of API keys, TLS and CORS."""

    keys: Path | None = option(
        None,
        "file of API keys, written by `mlrf keys`; requests must send one of them (default: no key needed)",
        group=Group.ACCESS,
        kind=Path,
    )
    tls_cert: Path | None = option(
        None, "certificate chain of the server (PEM); enables https (default: http)", group=Group.ACCESS, kind=Path
    )
    tls_key: Path | None = option(None, "private key of --tls-cert (PEM, no password)", group=Group.ACCESS, kind=Path)
    tls_client_ca: Path | None = option(
        None,
        "certificate authorities (PEM) that must have signed client certificates (default: no client certificate needed)",
        group=Group.ACCESS,
        kind=Path,
    )
    cors_origin: tuple[str, ...] = option(
        (),
        "origin whose pages may read responses, e.g. https://app.example, or *; may be repeated",
        group=Group.ACCESS,
        kind=str,
        metavar="ORIGIN",
        check=check_origin,
    )

    @property
    def tls_files(self) -> TlsFiles | None:
        """The files of TLS, None for plain HTTP; ConfigError when one is missing."""
        cert, key = self.tls_cert, self.tls_key
        if cert is not None and key is not None:
            return TlsFiles(cert, key, self.tls_client_ca)
        if cert is None and key is None and self.tls_client_ca is None:
            return None
        missing = "--tls-cert" if cert is None else "--tls-key"
        raise ConfigError(f"{missing}: missing; --tls-cert and --tls-key must be given together", option=missing)

    def check(self) -> None:
        """Read every file, as a worker will; ConfigError if one is invalid."""
        if self.keys is not None:
            from mlrf.serving.auth.keys import read_keys  # noqa: PLC0415  the settings come before all other imports

            read_keys(self.keys)
        if (files := self.tls_files) is not None:
            from mlrf.serving.auth.tls import Tls  # noqa: PLC0415  most servers have no certificate

            Tls(files)

    def exposed(self, host: str) -> str | None:
        """Return a warning for a server that other machines can reach without a key; otherwise None."""
        if self.keys is not None or self.tls_client_ca is not None or is_loopback(host):
            return None
        return f"{host} can be reached from other machines, and no key is needed; give a file of keys with --keys"


def is_loopback(host: str) -> bool:
    """Whether a host's address can be reached only from this machine."""
    if host in _LOOPBACK:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

"""Certificates for tests, made by the openssl command, and a client that trusts them."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

from raw_http import Client
from running import Server


def make_certificate(folder: Path, name: str, *, signed_by: str | None = None) -> tuple[Path, Path]:
    """Write NAME.pem and NAME.key for localhost into a folder, self-signed or signed by another name there; return the paths."""
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-days", "2"]
    command += ["-keyout", str(key), "-out", str(cert)]
    if signed_by is not None:
        command += ["-CA", str(folder / f"{signed_by}.pem"), "-CAkey", str(folder / f"{signed_by}.key")]
        command += ["-addext", "basicConstraints=critical,CA:FALSE"]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return cert, key


def trusting(folder: Path, *names: str, shown: str | None = None) -> ssl.SSLContext:
    """The TLS context of a client that trusts the certificates of these names, and sends its own if it has one."""
    context = ssl.create_default_context()
    context.load_verify_locations(cadata="".join((folder / f"{name}.pem").read_text() for name in names))
    if shown:
        context.load_cert_chain(folder / f"{shown}.pem", folder / f"{shown}.key")
    return context


class TlsClient(Client):
    """One connection over TLS; an error of the handshake is the caller's."""

    def __init__(
        self,
        port: int,
        context: ssl.SSLContext,
        *,
        session: ssl.SSLSession | None = None,
        receive_bytes: int | None = None,
    ) -> None:
        super().__init__(port, receive_bytes=receive_bytes)
        self.socket = context.wrap_socket(self.socket, server_hostname="localhost", session=session)


def n_booted(server: Server) -> int:
    """How many workers logged that they are ready, because a TLS server cannot be queried over plain HTTP."""
    return sum(entry["event"] == "worker ready" for entry in server.log)

"""Registries of images that ask for a password or a token: Debian's registry, and a server of tokens for it."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import parse_qs, urlsplit

from certificates import make_certificate
from store_servers import registry_server

USER, PASSWORD = "publisher", "s3cr3t-p4ss"
_BCRYPT = "$2b$04$P/9MUozX8mpCVrxdR0ZsmekdtF3NySxV1.t2qR8/QIA5WXRtP/nhS"
"""Of PASSWORD."""


@contextlib.contextmanager
def password_registry(folder: Path) -> Iterator[str]:
    """A registry that asks for a password; yields `HOST:PORT`."""
    (folder / "htpasswd").write_text(f"{USER}:{_BCRYPT}\n")
    auth = f"auth: {{htpasswd: {{realm: a registry, path: {folder}/htpasswd}}}}\n"
    with registry_server(folder, auth) as (host, _):
        yield host


@contextlib.contextmanager
def token_registry(folder: Path, token_lasts_s: float = 60.0) -> Iterator[tuple[str, list[str]]]:
    """A registry that asks for a token of each scope; yields `HOST:PORT` and the scopes that tokens were given for.

    Tokens are given over https; meanwhile this process trusts the certificate.
    """
    certificate, key = make_certificate(folder, "issuer")
    with ThreadingHTTPServer(("127.0.0.1", 0), _TokenHandler) as server:
        server.certificate, server.key, server.lasts_s = certificate, key, token_lasts_s  # type: ignore[attr-defined]
        server.scopes = scopes = []  # type: ignore[attr-defined]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        realm = f"https://127.0.0.1:{server.server_port}/token"
        auth = f"auth: {{token: {{realm: '{realm}', service: r, issuer: i, rootcertbundle: {certificate}}}}}\n"
        try:
            with (
                registry_server(folder, auth) as (host, _),
                mock.patch.dict(os.environ, SSL_CERT_FILE=str(certificate)),
            ):
                yield host, scopes
        finally:
            server.shutdown()


def log_in(home: Path, host: str, password: str = PASSWORD) -> None:
    """Write what `docker login` writes below a home directory."""
    auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
    (home / ".docker").mkdir(parents=True, exist_ok=True)
    (home / ".docker/config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))


class _TokenHandler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") != expected:
            self.send_error(401)
            return
        query = parse_qs(urlsplit(self.path).query)
        [scope] = query["scope"]
        self.server.scopes.append(scope)  # type: ignore[attr-defined]
        body = json.dumps({"token": _token(self.server, scope)}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def _token(server: Any, scope: str) -> str:
    """A JSON Web Token of a scope, signed as the registry's documentation of tokens asks for."""
    from cryptography.hazmat.primitives.asymmetric import ec, utils  # noqa: PLC0415
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    kind, name, actions = scope.rsplit(":", 2)
    der = ssl.PEM_cert_to_DER_cert(server.certificate.read_text())
    head = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(der).decode()]}
    now = int(time.time())
    claims = {
        "iss": "i", "sub": USER, "aud": "r", "iat": now, "nbf": now - 60, "exp": int(now + server.lasts_s), "jti": str(now),
        "access": [{"type": kind, "name": name, "actions": actions.split(",")}],
    }  # fmt: skip
    signed = b".".join(_base64url(json.dumps(part).encode()) for part in (head, claims))
    key = load_pem_private_key(server.key.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    r, s = utils.decode_dss_signature(key.sign(signed, ec.ECDSA(SHA256())))
    return (signed + b"." + _base64url(r.to_bytes(32, "big") + s.to_bytes(32, "big"))).decode()


def _base64url(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")

"""TLS of the gRPC listener: the certificates of the HTTP listener, including reloaded ones."""

from __future__ import annotations

from typing import Any

import grpc

from mlrf.serving.auth.tls import Tls, TlsFiles


def server_credentials(tls: Tls) -> Any:
    """Return credentials that follow `tls`: each handshake uses its current certificates.

    A file that cannot be read then leaves the previous certificates in use.
    """
    seen = tls.edition

    def changed() -> Any:
        nonlocal seen
        if tls.edition == seen:
            return None
        try:
            fresh = _configuration(tls.files)
        except OSError:
            return None
        seen = tls.edition
        return fresh

    return grpc.dynamic_ssl_server_credentials(
        _configuration(tls.files), changed, require_client_authentication=tls.files.client_ca is not None
    )


def _configuration(files: TlsFiles) -> Any:
    authorities = None if files.client_ca is None else files.client_ca.read_bytes()
    return grpc.ssl_server_certificate_configuration([(files.key.read_bytes(), files.cert.read_bytes())], authorities)

"""TLS with certificates that are reloaded without closing connections."""

from __future__ import annotations

import ssl

from mlrf.core.errors import ConfigError
from mlrf.serving.auth.file_watch import is_transient
from mlrf.serving.auth.tls_files import TlsFiles


class Tls:
    """The context of a listener. `reload` loads new certificates for later connections."""

    def __init__(self, files: TlsFiles, protocol: str = "http/1.1") -> None:
        """Read the files; ConfigError if they do not match. `protocol` is what clients may agree on (ALPN)."""
        self.files = files
        self._protocol = protocol
        self.edition = 0
        """How many times the files were reloaded."""
        self._fingerprint = files.fingerprint()
        self._current = _context(files, protocol)
        self.context = _context(files, protocol)
        """The context that a listener is created with: every handshake replaces it by the current one."""
        self.context.sni_callback = self._choose

    def reload(self) -> None:
        """Reload the files; ConfigError if they do not match, in which case the previous certificates stay in use."""
        current = self.files.fingerprint()
        self._current = _context(self.files, self._protocol)
        self._fingerprint = current
        self.edition += 1

    def refresh(self) -> bool:
        """Reload if a file changed; return whether one did. ConfigError as in `reload`, once per change."""
        current = self.files.fingerprint()
        if current == self._fingerprint:
            return False
        try:
            self.reload()
        except ConfigError as error:
            if not is_transient(error.__cause__):
                self._fingerprint = current
            raise
        return True

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._current


def _context(files: TlsFiles, protocol: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([protocol])
    try:
        # Without a password OpenSSL would prompt for one on the terminal.
        context.load_cert_chain(files.cert, files.key, password="")
    except (OSError, ValueError) as error:
        raise _unusable("--tls-cert, --tls-key", f"{files.cert} and {files.key}", error) from error
    if files.client_ca is not None:
        try:
            context.load_verify_locations(files.client_ca)
        except (OSError, ValueError) as error:
            raise _unusable("--tls-client-ca", str(files.client_ca), error) from error
        context.verify_mode = ssl.CERT_REQUIRED
        # A resumed session sends no certificate, so it would stay valid after its authority was removed.
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
    return context


def _unusable(option: str, what: str, error: Exception) -> ConfigError:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
    if isinstance(error, ssl.SSLError) and error.reason is None:
        reason = "not PEM of the expected kind (a certificate, a private key), or a key with a password"
    return ConfigError(f"{option}: {what} cannot be used: {reason}", option=option)

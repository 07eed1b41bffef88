"""Key pairs that sign bundles: PEM files of Ed25519 keys, or of ECDSA keys on P-256, P-384 or P-521, as openssl writes them.

`cryptography` (the extra `mlrf[signing]`) is imported on first use: a server that asks for no signature does not need it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlrf.core.errors import ConfigError

_MOST_BYTES = 1 << 16
_PRIVATE_MODE, _PUBLIC_MODE = 0o600, 0o644
_KINDS = "Ed25519, or ECDSA on P-256, P-384 or P-521"
_REMEDY = "make a pair with `mlrf keygen`"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key. `id` is the SHA-256 of its PEM text in hex, as signatures name it."""

    id: str
    file: Path
    _key: Any

    def verifies(self, signature: bytes, content: bytes) -> bool:
        """Return whether a signature of the content was made with the private key of this pair."""
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415

        try:
            self._key.verify(signature, content, *_algorithm(self._key))
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A private key, and the id of its public key."""

    id: str
    _key: Any

    def sign(self, content: bytes) -> bytes:
        """Return the signature of the content."""
        signature: bytes = self._key.sign(content, *_algorithm(self._key))
        return signature


def read_public_keys(files: Sequence[Path]) -> list[PublicKey]:
    """Return the keys of PEM files, one in each; ConfigError names the file that holds none."""
    return [_public_key(file) for file in files]


def read_private_key(file: Path, passphrase_file: Path | None = None) -> PrivateKey:
    """Return the key of a PEM file; ConfigError when it holds none, or one that its passphrase does not open."""
    require_cryptography()
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    passphrase = None if passphrase_file is None else _read(passphrase_file, "--passphrase-file").rstrip(b"\r\n")
    raw = _read(file, "--key")
    try:
        key = load_pem_private_key(raw, passphrase)
    except TypeError as error:
        wrong = "is encrypted; give --passphrase-file" if passphrase is None else "is not encrypted"
        raise ConfigError(f"--key: {file} {wrong}", option="--key") from error
    except Exception as error:
        wrong = "" if passphrase is None else ", or not one that this passphrase opens"
        raise ConfigError(
            f"--key: {file} is not a private key in PEM form{wrong}; {_REMEDY}", option="--key"
        ) from error
    _check_kind(key, file)
    return PrivateKey(_key_id(key.public_key()), key)


def generate(file: Path, passphrase_file: Path | None = None) -> PublicKey:
    """Write a new ECDSA P-256 pair: the private key into `file` (mode 0600), the public one into `file` with `.pub` added.

    ConfigError when one of them exists or cannot be written.
    """
    require_cryptography()
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        BestAvailableEncryption,
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    passphrase = None if passphrase_file is None else _read(passphrase_file, "--passphrase-file").rstrip(b"\r\n")
    if passphrase == b"":
        raise ConfigError(f"--passphrase-file: {passphrase_file} is empty", option="--passphrase-file")
    key = ec.generate_private_key(ec.SECP256R1())
    encryption = NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase)
    public = file.with_name(f"{file.name}.pub")
    if os.path.lexists(public):
        raise ConfigError(f"{public} exists; name another file", option="FILE")
    _write_new(file, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption), _PRIVATE_MODE)
    _write_new(public, _pem(key.public_key()), _PUBLIC_MODE)
    return PublicKey(_key_id(key.public_key()), public, key.public_key())


def require_cryptography() -> None:
    """Raise ConfigError when the extra is not installed."""
    try:
        import cryptography  # noqa: F401, PLC0415
    except ImportError as error:
        raise ConfigError(f"signatures need `pip install 'mlrf[signing]'` ({error})") from error


def _public_key(file: Path) -> PublicKey:
    require_cryptography()
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    raw = _read(file, "public key")
    try:
        key = load_pem_public_key(raw)
    except Exception as error:  # of several kinds: unsupported algorithms, bad points
        raise ConfigError(f"{file} is not a public key in PEM form{_found_instead(raw)}") from error
    _check_kind(key, file)
    return PublicKey(_key_id(key), file, key)


def _found_instead(raw: bytes) -> str:
    """Return what a file contains instead of a public key, and what to do, as the end of a sentence."""
    if b"PRIVATE KEY-----" in raw:
        return " but a private one: give the file of the public key, and keep this one off servers"
    if b"BEGIN CERTIFICATE-----" in raw:
        return " but a certificate: `openssl x509 -pubkey -noout -in FILE` writes its key"
    if raw.startswith((b"ssh-", b"ecdsa-sha2-", b"---- BEGIN SSH2")):
        return " but an SSH key: `ssh-keygen -e -m pkcs8 -f FILE` writes it in PEM form"
    return f"; {_REMEDY}, or convert it with openssl"


def _check_kind(key: Any, file: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519  # noqa: PLC0415

    if isinstance(key, (ed25519.Ed25519PublicKey, ed25519.Ed25519PrivateKey)):
        return
    is_ec = isinstance(key, (ec.EllipticCurvePublicKey, ec.EllipticCurvePrivateKey))
    if not is_ec or key.curve.name not in ("secp256r1", "secp384r1", "secp521r1"):
        found = f"ECDSA on {key.curve.name}" if is_ec else type(key).__name__.removesuffix("Key").lstrip("_")
        raise ConfigError(f"{file}: keys of this kind ({found}) are not supported, only {_KINDS}; {_REMEDY}")


def _algorithm(key: Any) -> tuple[Any, ...]:
    """Return what `sign` and `verify` of a key need in addition: an elliptic curve's hash, nothing for Ed25519."""
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    curve = getattr(key, "curve", None)
    if curve is None:
        return ()
    # As Sigstore pairs curves and hashes.
    by_size = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}
    return (ec.ECDSA(by_size[curve.key_size]),)


def _key_id(key: Any) -> str:
    return hashlib.sha256(_pem(key)).hexdigest()


def _pem(key: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415

    text: bytes = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return text


def _read(file: Path, option: str) -> bytes:
    try:
        with file.open("rb") as opened:
            raw = opened.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{option}: {file} cannot be read: {error.strerror}", option=option) from error
    if len(raw) > _MOST_BYTES:
        raise ConfigError(f"{option}: {file} has more than {_MOST_BYTES} bytes, too many for a key", option=option)
    return raw


def _write_new(file: Path, content: bytes, mode: int) -> None:
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(content)
            os.fsync(descriptor)
    except FileExistsError as error:
        raise ConfigError(f"{file} exists; name another file", option="FILE") from error
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}", option="FILE") from error

"""The signature of a bundle on disk: `model.sig` in its directory, outside of the manifest and of the version's digest.

A bundle is therefore signed, or signed by somebody else, without becoming another version. What is verified is what was read:
the statement must name the digests of the given bundle, whose files were checked against the same digests.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlrf.core.atomic_files import replace_file
from mlrf.core.bundle import Bundle
from mlrf.core.bundle_files import MAX_SIGNATURE_BYTES, digest_file
from mlrf.core.errors import BundleError, ConfigError, RepositoryError
from mlrf.core.manifest import SIGNATURE
from mlrf.signing.envelope import open_envelope, seal
from mlrf.signing.key_pairs import PrivateKey, PublicKey
from mlrf.signing.statement import Material, Provenance, check_statement, encode_statement


@dataclass(frozen=True, slots=True)
class VerifiedSignature:
    """A signature that one of the trusted keys made about a bundle."""

    key: PublicKey
    provenance: Provenance


def sign_bundle(bundle: Bundle, key: PrivateKey, *, built_by: str = "", sources: Sequence[Path] = ()) -> Path:
    """Write the signature of a bundle and return its path.

    `sources` are the files that the bundle was built from; their digests are recorded, with `built_by`, as provenance.
    ConfigError when a source cannot be read, RepositoryError when the signature cannot be written.
    """
    materials = [_material(source) for source in sources]
    path = bundle.path / SIGNATURE
    try:
        replace_file(path, seal(encode_statement(bundle, built_by, materials), key))
    except OSError as error:
        raise RepositoryError(
            f"{path} cannot be written: {error.strerror}; sign a copy that is yours, and publish that"
        ) from error
    return path


def verify_bundle(bundle: Bundle, keys: Sequence[PublicKey]) -> VerifiedSignature:
    """Return the signature of a bundle that one of the keys made; BundleError when there is none."""
    try:
        payload, key = open_envelope(_read(bundle), keys)
        return VerifiedSignature(key, check_statement(payload, bundle))
    except BundleError as error:
        raise BundleError(f"{bundle.path}: {SIGNATURE} {error}", file=SIGNATURE) from error


def _read(bundle: Bundle) -> bytes:
    path = bundle.path / SIGNATURE
    # One descriptor: what is looked at is what is read, and a link or a pipe is not waited for.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if bundle.follows_links else os.O_NOFOLLOW)
    try:
        with os.fdopen(os.open(path, flags), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_SIGNATURE_BYTES:
                raise BundleError(f"is not a regular file of at most {MAX_SIGNATURE_BYTES} bytes")
            return file.read(MAX_SIGNATURE_BYTES + 1)
    except FileNotFoundError as error:
        raise BundleError("is missing, and a signature is required; sign the bundle with `mlrf sign`") from error
    except OSError as error:
        raise BundleError(f"cannot be read: {error.strerror}") from error


def _material(source: Path) -> Material:
    try:
        return Material(source.name, {"sha256": digest_file(source)})
    except OSError as error:
        raise ConfigError(f"--source: {source} cannot be read: {error.strerror}", option="--source") from error

"""The check of signatures (`--require-signature`) when a version is about to be served.

1. It is made at the start and when a reload is prepared, never while a request is answered.
2. It binds a digest: a process that later opens the same version by its digest opens what was signed.
3. The key files are read for each check, so a key that is removed or replaced counts from the next version on.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlrf.core.bundle import Bundle
from mlrf.core.errors import BundleError, ConfigError


def check_keys(files: Sequence[Path]) -> None:
    """Raise ConfigError if one of the files is not a public key."""
    if files:
        from mlrf.signing.key_pairs import read_public_keys  # noqa: PLC0415  most servers require no signature

        try:
            read_public_keys(files)
        except ConfigError as error:
            raise ConfigError(f"--require-signature: {error}", option="--require-signature") from error


def check_signature(bundle: Bundle, files: Sequence[Path]) -> None:
    """Raise BundleError if none of the keys in these files has signed the bundle; without files, accept any bundle."""
    if not files:
        return
    from mlrf.signing.bundle_signature import verify_bundle  # noqa: PLC0415  most servers require no signature
    from mlrf.signing.key_pairs import read_public_keys  # noqa: PLC0415

    try:
        keys = read_public_keys(files)
    except ConfigError as error:
        raise BundleError(f"{bundle.path}: its signature cannot be checked: {error}") from error
    verify_bundle(bundle, keys)

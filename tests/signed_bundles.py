"""Key pairs and signed bundles for tests."""

from __future__ import annotations

import subprocess
from pathlib import Path

from mlrf.core.named_bundle import open_bundle
from mlrf.signing.bundle_signature import sign_bundle
from mlrf.signing.key_pairs import generate, read_private_key


def make_pair(folder: Path, name: str = "release") -> tuple[Path, Path]:
    """Write a key pair of `mlrf keygen`; return the files of the private and the public key."""
    file = folder / f"{name}.key"
    return file, generate(file).file


def openssl_pair(folder: Path, *algorithm: str) -> tuple[Path, Path]:
    """Write a key pair of openssl (`-algorithm …` of genpkey); return the files of the private and the public key."""
    private, public = folder / "openssl.key", folder / "openssl.pub"
    for command in (["genpkey", *algorithm, "-out", private], ["pkey", "-in", private, "-pubout", "-out", public]):
        subprocess.run(["openssl", *command], check=True, capture_output=True, timeout=60)
    return private, public


def signed(bundle: Path, key: Path, **rest: object) -> Path:
    """Sign a bundle in place and return its path."""
    sign_bundle(open_bundle(bundle), read_private_key(key), **rest)
    return bundle

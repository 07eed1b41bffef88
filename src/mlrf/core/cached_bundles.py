"""Names of bundles in the cache of stores: a bundle's digest, and with a signature a part of that one's digest.

Two stores may have the same bundle with different signatures, and both are served; the files are on the disk once.
"""

from __future__ import annotations

import hashlib
import re

_SIGNATURE_DIGITS = 16
_NAME = re.compile(rf"([0-9a-f]{{64}})(-[0-9a-f]{{{_SIGNATURE_DIGITS}}})?")


def cached_name(digest: str, signature: bytes | None) -> str:
    """Return the name of the directory of a bundle with this digest and this signature."""
    if signature is None:
        return digest
    return f"{digest}-{hashlib.sha256(signature).hexdigest()[:_SIGNATURE_DIGITS]}"


def cached_digest(name: str) -> str | None:
    """Return the digest of the bundle whose directory has this name; None for something else."""
    found = _NAME.fullmatch(name)
    return None if found is None else found[1]

"""Model files held in memory by the arbiter, so that every worker, however late it is born, serves what was checked.

A worker opens its engine long after the digests were checked, and again whenever one is replaced; by then the bundle may have
been built anew under the same path, or written over. So the arbiter copies the engine's file into sealed memory once and
checks the copy. Workers map that memory: one copy for all, that nothing can change or cut short.
"""

from __future__ import annotations

import fcntl
import hashlib
import os

import msgspec

from mlrf.core.bundle import Bundle
from mlrf.core.errors import BundleError
from mlrf.engines.choice import engine_file

_CHUNK_BYTES = 1 << 20
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


def hold_model(bundle: Bundle, engine: str | None) -> Bundle:
    """Return the bundle with the file of its engine held in memory; BundleError when the file is no longer the manifest's."""
    name = engine_file(bundle, engine)
    descriptor = os.memfd_create(f"mlrf-{bundle.name}-{name}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    digest = hashlib.sha256()
    try:
        with bundle.file(name).open("rb") as file, os.fdopen(os.dup(descriptor), "wb") as memory:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
                memory.write(chunk)
    except OSError as error:
        raise BundleError(f"{bundle.path}: {name} cannot be read: {error.strerror}", file=name) from error
    if digest.hexdigest() != bundle.manifest.files[name].sha256:
        raise BundleError(f"{bundle.path}: {name} was altered while it was read; start again", file=name)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    return msgspec.structs.replace(bundle, held={name: descriptor})

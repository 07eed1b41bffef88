"""A bundle as bytes, for processes of a cluster that do not have its path; each process unpacks it once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from mlrf.core.bundle import Bundle
from mlrf.core.errors import ConfigError
from mlrf.core.manifest import MANIFEST

_MOST_BYTES = 512 << 20
"""More than that in the memory of every process is a mistake: rows by key, which scoring does not read."""


def packed_bundle(bundle: Bundle) -> bytes:
    """Return the files of a bundle as bytes; ConfigError if they are larger than 512 MB."""
    root = Path(bundle.path)
    size = sum(each.size_bytes for each in bundle.manifest.files.values())
    if size > _MOST_BYTES:
        raise ConfigError(
            f"{root}: has {size >> 20} MB, more than the {_MOST_BYTES >> 20} that are sent; copy it to a path of every node"
        )
    return msgspec.msgpack.encode({name: (root / name).read_bytes() for name in (MANIFEST, *bundle.manifest.files)})


@contextmanager
def unpacked(packed: bytes) -> Iterator[Path]:
    """Yield a private directory with the files of a packed bundle; what is mapped of them stays after the block."""
    with TemporaryDirectory(prefix="mlrf-bundle-") as folder:
        root = Path(folder, "bundle")
        for name, content in msgspec.msgpack.decode(packed, type=dict[str, bytes]).items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        yield root

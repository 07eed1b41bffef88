"""The hostile HTTP corpus: requests as files, each with its expected error status.

A file opens with `# name` and `# verdict: status`. Then come the request's bytes: line ends of the file mean nothing, `\\r`, `\\n`,
`\\t`, `\\\\` and `\\xNN` stand for bytes, `\\{text*n}` for text n times.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "wire" / "corpus"
HIDDEN = b"GET /models HTTP/1.1\r\nHost: hidden\r\nX-Request-ID: hidden\r\n\r\n"
"""The request that a smuggler would hide: sent directly after each of the others."""
_ESCAPES = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"\\": b"\\"}


@dataclass(frozen=True)
class Hostile:
    """One request of the corpus."""

    name: str
    status: int
    content: bytes


def read_corpus() -> list[Hostile]:
    """Read every file, in the order of their names."""
    return [_read(path) for path in sorted(FOLDER.glob("*.http"))]


def _read(path: Path) -> Hostile:
    name, verdict, *lines = path.read_bytes().split(b"\n")
    repeated = re.sub(rb"\\\{(.*?)\*(\d+)\}", lambda found: found[1] * int(found[2]), b"".join(lines))
    content = re.sub(rb"\\(?:x([0-9a-f]{2})|([rnt\\]))", _byte, repeated)
    return Hostile(name.removeprefix(b"# ").decode(), int(verdict.rpartition(b" ")[2]), content)


def _byte(found: re.Match[bytes]) -> bytes:
    return bytes.fromhex(found[1].decode()) if found[1] else _ESCAPES[found[2]]

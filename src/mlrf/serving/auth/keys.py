"""API keys: a file of hashes, and verification of request keys against it.

One line per key: its id, the SHA-256 of the whole key in hex, scopes, a name. A key is `ID.SECRET`: 9 and 32 random bytes in
URL-safe base64. Random keys need no slow hash; the id selects the line, and the hashes are compared in constant time.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from mlrf.core.errors import ConfigError
from mlrf.core.lazy_pattern import lazy_pattern
from mlrf.serving.auth.file_watch import fingerprint, is_transient

SCOPES = ("predict", "explain", "admin", "metrics")
"""`metrics` allows what any key allows: neither predictions nor changes."""
_ID_BYTES, _SECRET_BYTES = 9, 32
_LINE = lazy_pattern(r"([A-Za-z0-9_-]{1,32})[ \t]+([0-9a-f]{64})[ \t]+([a-z,]+)[ \t]+(\S{1,64})")
_MOST_BYTES = 1 << 20
_NO_DIGEST = "0" * 64
"""The digest to compare with if no line has the id, so that refusing a wrong id takes as long as refusing a wrong secret."""


class Key(msgspec.Struct, frozen=True):
    """One line of the file."""

    id: str
    digest: str
    scopes: frozenset[str]
    name: str

    def line(self) -> str:
        """Return the line."""
        return f"{self.id} {self.digest} {','.join(s for s in SCOPES if s in self.scopes)} {self.name}\n"


def make_key(name: str, scopes: Sequence[str]) -> tuple[str, Key]:
    """Return a new key, to be shown once, and its line for the file."""
    identity = base64.urlsafe_b64encode(secrets.token_bytes(_ID_BYTES)).decode()
    key = f"{identity}.{secrets.token_urlsafe(_SECRET_BYTES)}"
    return key, Key(identity, _digest(key.encode()), frozenset(scopes), name)


def read_keys(path: Path) -> dict[str, Key]:
    """Return the keys of a file by id; ConfigError names an invalid line. Lines that start with # are ignored."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            # A pipe (`<(…)`) can be read only once: at the next reload it would be empty, and every caller would be refused.
            raise ConfigError(f"--keys: {path} is not a file", option="--keys")
        content = path.read_bytes()[: _MOST_BYTES + 1]
        text = content.decode("ascii")
    except OSError as error:
        raise ConfigError(f"--keys: {path} cannot be read: {error.strerror}", option="--keys") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"--keys: {path} is not ASCII text", option="--keys") from error
    if len(content) > _MOST_BYTES:
        raise ConfigError(f"--keys: {path} is longer than {_MOST_BYTES} bytes", option="--keys")
    keys: dict[str, Key] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        key = _key(line.strip())
        if key is None or key.id in keys:
            # The line itself is not shown: it may contain a key by mistake.
            what = "is not a key line (ID SHA256 SCOPES NAME)" if key is None else "repeats the id of an earlier line"
            raise ConfigError(f"--keys: line {number} of {path} {what}; `mlrf keys` writes them", option="--keys")
        keys[key.id] = key
    return keys


def write_keys(path: Path, keys: Mapping[str, Key]) -> None:
    """Replace the file atomically, readable by its owner only; a server reads either all of it or the previous file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}~")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write("# id, SHA-256 of the key, scopes, name; written by `mlrf keys`\n")
            file.writelines(key.line() for key in keys.values())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ConfigError(f"{path} cannot be written: {error.strerror}", file=str(path)) from error


class KeyRing:
    """The keys of a file, reloaded when it changes."""

    def __init__(self, path: Path) -> None:
        """Read the file; ConfigError if it is invalid."""
        self._path = path
        self._fingerprint = fingerprint(path)
        self._keys = read_keys(path)
        self.edition = 0
        """How many times the keys were reloaded."""

    @property
    def n_keys(self) -> int:
        """How many keys there are."""
        return len(self._keys)

    def refresh(self) -> bool:
        """Reload the file if it changed; return whether it did.

        ConfigError if it is invalid; the previous keys then stay valid.
        """
        current = fingerprint(self._path)
        if current == self._fingerprint:
            return False
        try:
            self._keys = read_keys(self._path)
        except ConfigError as error:
            if not is_transient(error.__cause__):
                self._fingerprint = current
            raise
        self._fingerprint = current
        self.edition += 1
        return True

    def scopes_of(self, presented: bytes) -> frozenset[str] | None:
        """Return the scopes of a key; None if it is not in the file."""
        identity = presented.partition(b".")[0].decode("ascii", "replace")
        key = self._keys.get(identity)
        same = hmac.compare_digest(_digest(presented), _NO_DIGEST if key is None else key.digest)
        return key.scopes if same and key is not None else None


def _key(line: str) -> Key | None:
    matched = _LINE.fullmatch(line)
    if matched is None:
        return None
    scopes = frozenset(matched[3].split(","))
    return Key(matched[1], matched[2], scopes, matched[4]) if scopes <= set(SCOPES) else None


def _digest(key: bytes) -> str:
    return hashlib.sha256(key).hexdigest()

"""What a store must offer: small files read whole, large ones downloaded, folders listed.

Errors of every store are FileNotFoundError for what is not there, and RepositoryError for everything else: no connection, no
permission, a time-out, an answer that is not one.
"""

from __future__ import annotations

from typing import BinaryIO, NamedTuple, Protocol

MAX_MODELS = 1000
"""Most models of a repository that is followed: each is asked for at every look."""
MAX_FOLDERS = 100_000
"""Most folders that are listed: a hostile store could list folders without end."""


class Content(NamedTuple):
    """The content of a small file, and a token that changes whenever the file is written."""

    body: bytes
    token: str


class StoreReader(Protocol):
    """Reads below one address. File names are relative to it, with `/` between folders."""

    @property
    def resolved(self) -> str:
        """What the address means now, for the log: an alias or tag resolved to a version."""
        ...

    def read(self, name: str, limit_bytes: int) -> Content:
        """Return the content of a file; RepositoryError when it is longer than the limit."""
        ...

    def download(self, name: str, file: BinaryIO, size_bytes: int) -> None:
        """Write a file's content to an open file; RepositoryError when it does not have this size."""
        ...

    def folders(self, below: str = "") -> list[str]:
        """Return the names of the folders directly below the address, or a folder there; none where they cannot be listed.

        RepositoryError for more than `MAX_FOLDERS`.
        """
        ...


class StoreWriter(StoreReader, Protocol):
    """Writes below one address."""

    def write(self, name: str, body: bytes | BinaryIO, *, replacing: str | None = None, is_new: bool = False) -> None:
        """Write a file as a whole.

        `is_new`: FileExistsError if there is one already. `replacing`: FileExistsError unless the present one has this token.
        """
        ...

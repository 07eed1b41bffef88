"""Messages between arbiter and workers about versions, in pages of shared memory that each have one writer.

The arbiter writes the plan (what to serve, what to prepare) and a reply for each slot; the worker of a slot writes its report
and an operator's request. A page has one numbered message. The number is 0 while the message is written, so that a reader gets
either the complete new message or the previous one. Signals only announce a change.
"""

from __future__ import annotations

import signal
from typing import Generic, TypeVar

import msgspec

from mlrf.core.repository import Version
from mlrf.serving.runtime.control_block import ControlBlock

WAKE = signal.SIGURG
"""The signal that a page has changed. By default it is ignored, so it does not end processes without a handler."""
_WORD_BYTES = 8
_MESSAGE_BYTES = 4096
_PLAN_BYTES_A_MODEL = 512
_MAX_REASON_CHARS = 1000

M = TypeVar("M", bound=msgspec.Struct)


class Attempt(msgspec.Struct, frozen=True):
    """A version to prepare: by the worker of one slot first, or by all (`slot` None)."""

    number: int
    model: str
    version: Version
    allow_schema_change: bool
    slot: int | None = None
    pinned: dict[str, int] = {}
    """The arbiter's descriptors of the version's pinned files; empty for versions in a repository."""


class Plan(msgspec.Struct, frozen=True):
    """What every worker must serve, and what to prepare in addition. `generation` counts the changes of what is served."""

    generation: int = 0
    versions: dict[str, Version] = {}
    unloaded: dict[str, Version] = {}
    """Models that are not served until they are loaded again, and the version that each had."""
    pinned: dict[str, dict[str, int]] = {}
    """By model, as in an attempt: for versions loaded from a directory of their own since the start."""
    attempt: Attempt | None = None


class Report(msgspec.Struct, frozen=True):
    """What a worker serves, and its progress with an attempt; `reason` is the error of a failed one."""

    pid: int = 0
    generation: int = 0
    attempt: int = 0
    prepared: bool = False
    reason: str = ""
    schema_changed: bool = False


class LoadCommand(msgspec.Struct, frozen=True):
    """A request to load a version; without a version, to unload a model."""

    pid: int = 0
    number: int = 0
    model: str = ""
    version: Version | None = None
    allow_schema_change: bool = False
    pinned: dict[str, int] = {}
    """Descriptors of the worker, as in an attempt."""


class LoadOutcome(msgspec.Struct, frozen=True):
    """The outcome of a request."""

    pid: int = 0
    number: int = 0
    reason: str = ""
    """Why the request was refused; empty on success."""
    schema_changed: bool = False


class Page(Generic[M]):
    """One message in shared memory, for one writer and any readers."""

    def __init__(self, words: memoryview, kind: type[M]) -> None:
        self._words = words
        self._bytes = words.cast("B")[2 * _WORD_BYTES :]
        self._kind = kind
        self._written = 0
        self._seen: tuple[int, M] | None = None

    def write(self, message: M) -> None:
        """Replace the message; raises ValueError if it is too long."""
        content = msgspec.json.encode(message)
        if len(content) > len(self._bytes):
            raise ValueError(f"{len(content)} bytes do not fit in a page")
        # A replacement continues where its predecessor stopped, even within a message.
        self._written = max(self._written, int(self._words[1])) + 1
        self._words[0] = 0
        self._words[1] = self._written
        self._bytes[: len(content)] = content
        self._bytes[len(content) :] = bytes(len(self._bytes) - len(content))
        self._words[0] = self._written
        # A process forked during the next write still has this message.
        self._seen = (self._written, message)

    def read(self) -> M:
        """Return the message; the last one seen while another is being written."""
        number = int(self._words[0])
        if self._seen is not None and number in (0, self._seen[0]):
            return self._seen[1]
        if number:
            content = bytes(self._bytes).rstrip(b"\0")
            if int(self._words[0]) == number == int(self._words[1]):
                self._seen = (number, msgspec.json.decode(content, type=self._kind))
        return self._seen[1] if self._seen is not None else self._kind()


class ReloadPages:
    """The pages of all processes, made before the fork."""

    def __init__(self, n_slots: int, n_models: int) -> None:
        n_words = (_MESSAGE_BYTES + _PLAN_BYTES_A_MODEL * n_models) // _WORD_BYTES
        block = ControlBlock(3 * n_slots + 1, n_words)
        rows = [block.row(number) for number in range(3 * n_slots + 1)]
        self.plan: Page[Plan] = Page(rows[0], Plan)
        self.reports: list[Page[Report]] = [Page(row, Report) for row in rows[1 : n_slots + 1]]
        self.commands: list[Page[LoadCommand]] = [Page(row, LoadCommand) for row in rows[n_slots + 1 : 2 * n_slots + 1]]
        self.outcomes: list[Page[LoadOutcome]] = [Page(row, LoadOutcome) for row in rows[2 * n_slots + 1 :]]


def clipped(reason: str) -> str:
    """Return a reason shortened to fit a page, measured in encoded bytes."""
    return reason if len(reason) <= _MAX_REASON_CHARS // 2 else reason[: _MAX_REASON_CHARS // 2] + " …"

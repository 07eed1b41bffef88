"""Coordinates reloads in the arbiter: one attempt at a time, applied by every worker or by none.

    idle ──► one worker prepares ──► all prepare ──► the plan changes ──► all have switched ──► acknowledged
                        └── a failure, a death, the time limit: the plan stays, the error is reported ──► idle

One worker goes first: a version that crashes the worker which opens it costs one worker. Unloading needs no preparation: the
plan changes at once. Nothing here blocks, opens a bundle or answers a request: `step` reads the pages and writes the plan,
whenever a worker signals a change, and once a second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

import msgspec

from mlrf.core.errors import BundleError
from mlrf.core.repository import POINTER, ModelDirectory, Version
from mlrf.serving.models.refused_version import RefusedVersion
from mlrf.serving.processes.pinned_files import close_descriptors, open_descriptors
from mlrf.serving.processes.reload_board import Attempt, LoadCommand, LoadOutcome, Plan, ReloadBoard, clipped

SWITCH_LIMIT_S = 5.0
"""Switching takes microseconds: a worker that has not switched by then is hung, and could answer from the old version."""


class Log(Protocol):
    """The log of the coordinator."""

    def info(self, event: str, **facts: object) -> None:
        """Log an ordinary event."""
        ...

    def warning(self, event: str, **facts: object) -> None:
        """Log an event that needs attention."""
        ...


@dataclass(frozen=True, slots=True)
class CoordinatorActions:
    """Actions of a reload: wake all workers, end the worker of a slot, count how a reload ended."""

    wake: Callable[[], None]
    end: Callable[[int], None]
    count: Callable[[str], None]


@dataclass(slots=True)
class _UnderWay:
    attempt: Attempt
    asker: tuple[int, LoadCommand] | None
    """The slot and number of the request; None if the pointer on disk changed."""
    deadline_s: float
    committed: bool = False
    unloads: bool = False
    """Whether this is an unload."""
    spare: Mapping[str, int] = field(default_factory=dict)
    """Descriptors to close when this is over: those of the new version, and after the switch those of the old one."""


@dataclass(slots=True)
class ReloadCoordinator:
    """The state of the reload in progress, if any, and what was served and refused before it."""

    board: ReloadBoard
    model_directories: Mapping[str, ModelDirectory]
    timeout_s: float
    allow_schema_change: bool
    hands: CoordinatorActions
    log: Log
    pinned: dict[str, dict[str, int]] = field(default_factory=dict)
    """By model, descriptors of the pinned files of the version in service, for workers started later."""
    refused: dict[str, RefusedVersion] = field(default_factory=dict)
    """By model, versions that the start refused, until another is put into service."""
    plan: Plan = field(default_factory=Plan)
    _under_way: _UnderWay | None = None
    _attempts: int = 0
    _answered: dict[int, tuple[int, int]] = field(default_factory=dict)
    _pointers: dict[str, object] = field(default_factory=dict)
    """By model, the state of the pointer file when it was last read."""

    def begin(self, versions: dict[str, Version], unavailable: Mapping[str, Version] = MappingProxyType({})) -> None:
        """Set what is served from the start, and what is not; a pointer that has moved since then is followed."""
        for name, model_directory in self.model_directories.items():
            looks = _looks(model_directory)
            with suppress(BundleError):
                known = versions.get(name) if name not in self.refused else self.refused[name].version
                if model_directory.pointer().version == known:
                    self._pointers[name] = looks
        self._set(versions=versions, unloaded=dict(unavailable))

    @property
    def is_idle(self) -> bool:
        """Whether no reload is in progress."""
        return self._under_way is None

    def step(self, now_s: float, ready: set[int]) -> None:
        """Advance the reload as far as the reports allow; `ready` are the slots whose workers answer."""
        if self._under_way is None:
            self._start(now_s, ready)
        if self._under_way is not None:
            if self._under_way.committed:
                self._finish(self._under_way, now_s, ready)
            else:
                self._prepare(self._under_way, now_s, ready)

    def crashed(self, slot: int) -> None:
        """Record that the worker of a slot died: an attempt it took part in has failed."""
        under_way = self._under_way
        if under_way is not None and not under_way.committed and self._invites(under_way, slot):
            self._refuse(under_way, f"the worker in slot {slot} died while it prepared the version")

    def _start(self, now_s: float, ready: set[int]) -> None:
        if not ready:
            return
        for slot, page in enumerate(self.board.commands):
            ask = page.read()
            if not ask.number or self._answered.get(slot) == (ask.pid, ask.number):
                continue
            if ask.version is None:
                self._unload(now_s, slot, ask)
            else:
                self._attempt(now_s, ready, ask.model, ask.version, (slot, ask))
            return
        for name, model_directory in self.model_directories.items():
            looks = _looks(model_directory)
            if looks == self._pointers.get(name):
                continue
            self._pointers[name] = looks
            if name in self.plan.unloaded and name not in self.refused:
                # The operator who unloaded it decides when it returns, and then loads the pointer's version.
                continue
            try:
                version = model_directory.pointer().version
            except BundleError as error:
                self.log.warning("pointer not read", model=name, reason=str(error))
                continue
            if version != self.plan.versions.get(name):
                self._attempt(now_s, ready, name, version, None)
                return

    def _attempt(
        self, now_s: float, ready: set[int], model: str, version: Version, asker: tuple[int, LoadCommand] | None
    ) -> None:
        self._attempts += 1
        # Not the worker that received the request: it must live to report the result.
        first = min(ready) if asker is None else min(ready, key=lambda slot: (slot == asker[0], slot))
        allowed = self.allow_schema_change or (asker is not None and asker[1].allow_schema_change)
        attempt = Attempt(self._attempts, model, version, allowed, first)
        self._under_way = _UnderWay(attempt, asker, now_s + self.timeout_s)
        if version == self.plan.versions.get(model):
            self._acknowledge(self._under_way)
            return
        if asker is not None and asker[1].held:
            try:
                held = open_descriptors(asker[1].pid, asker[1].held)
            except BundleError as error:
                self._refuse(self._under_way, str(error))
                return
            attempt = msgspec.structs.replace(attempt, held=held)
            self._under_way.attempt, self._under_way.spare = attempt, held
        self._set(attempt=attempt)

    def _unload(self, now_s: float, slot: int, ask: LoadCommand) -> None:
        self._attempts += 1
        version = self.plan.versions.get(ask.model)
        attempt = Attempt(
            self._attempts, ask.model, version or self.plan.unloaded[ask.model], allow_schema_change=False
        )
        deadline_s = now_s + SWITCH_LIMIT_S
        self._under_way = _UnderWay(attempt, (slot, ask), deadline_s, committed=True, unloads=True)
        if version is None:
            self._answer(self._under_way, "")
            return
        self._switch(self._under_way)

    def _prepare(self, under_way: _UnderWay, now_s: float, ready: set[int]) -> None:
        attempt = under_way.attempt
        waiting = []
        for slot in sorted(ready):
            if not self._invites(under_way, slot):
                continue
            report = self.board.reports[slot].read()
            if report.attempt != attempt.number:
                waiting.append(slot)
            elif not report.prepared:
                self._refuse(under_way, report.reason, schema_changed=report.schema_changed)
                return
        if now_s >= under_way.deadline_s:
            slots = ", ".join(map(str, waiting)) or "none"
            self._refuse(under_way, f"not prepared within {self.timeout_s:g} s by the worker in slot {slots}")
        elif not waiting and attempt.slot is not None and ready:
            if attempt.slot not in ready:
                # The first worker left in order: choose another.
                self._change(under_way, min(ready))
            else:
                self._change(under_way, None)
        elif not waiting and ready:
            under_way.committed = True
            under_way.deadline_s = now_s + SWITCH_LIMIT_S
            self._switch(under_way)

    def _finish(self, under_way: _UnderWay, now_s: float, ready: set[int]) -> None:
        late = [slot for slot in ready if self.board.reports[slot].read().generation < self.plan.generation]
        if late and now_s < under_way.deadline_s:
            return
        for slot in late:
            self.log.warning("worker did not switch", slot=slot)
            self.hands.end(slot)
        self._acknowledge(under_way)

    def _change(self, under_way: _UnderWay, slot: int | None) -> None:
        attempt = under_way.attempt
        under_way.attempt = msgspec.structs.replace(attempt, slot=slot)
        self._set(attempt=under_way.attempt)

    def _invites(self, under_way: _UnderWay, slot: int) -> bool:
        return under_way.attempt.slot in (None, slot)

    def _acknowledge(self, under_way: _UnderWay) -> None:
        attempt = under_way.attempt
        self.hands.count("unloaded" if under_way.unloads else "done")
        self.log.info(
            "unloaded" if under_way.unloads else "reloaded",
            model=attempt.model,
            version=attempt.version.number,
            digest=attempt.version.digest[:12],
        )
        self._answer(under_way, "")

    def _refuse(self, under_way: _UnderWay, reason: str, *, schema_changed: bool = False) -> None:
        attempt = under_way.attempt
        self.hands.count("refused")
        serving = self.plan.versions.get(attempt.model)
        self.log.warning(
            "reload refused",
            model=attempt.model,
            version=attempt.version.number,
            reason=reason,
            serving=None if serving is None else serving.number,
        )
        self._answer(under_way, reason, schema_changed=schema_changed)

    def _answer(self, under_way: _UnderWay, reason: str, *, schema_changed: bool = False) -> None:
        if under_way.asker is not None:
            slot, ask = under_way.asker
            self._answered[slot] = (ask.pid, ask.number)
            self.board.outcomes[slot].write(LoadOutcome(ask.pid, ask.number, clipped(reason), schema_changed))
        self._under_way = None
        self._set(attempt=None)
        close_descriptors(under_way.spare)

    def _switch(self, under_way: _UnderWay) -> None:
        """Change the plan to serve the version of an attempt instead of the old one (no version for an unload)."""
        attempt, plan = under_way.attempt, self.plan
        self.refused.pop(attempt.model, None)
        versions, unloaded, held = (
            {name: each for name, each in kept.items() if name != attempt.model}
            for kept in (plan.versions, plan.unloaded, plan.held)
        )
        (unloaded if under_way.unloads else versions)[attempt.model] = attempt.version
        under_way.spare = self.pinned.pop(attempt.model, {})
        if attempt.held:
            held[attempt.model] = self.pinned[attempt.model] = attempt.held
        self._set(generation=plan.generation + 1, versions=versions, unloaded=unloaded, held=held)

    def _set(self, **changes: object) -> None:
        self.plan = msgspec.structs.replace(self.plan, **changes)
        self.board.plan.write(self.plan)
        self.hands.wake()


def _looks(model_directory: ModelDirectory) -> object:
    """Return what changes when the pointer is replaced, without reading it."""
    try:
        found = (model_directory.path / POINTER).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size

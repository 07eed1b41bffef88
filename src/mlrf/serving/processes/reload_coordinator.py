"""Coordinates reloads in the arbiter: one attempt at a time, applied by every worker or by none.

    idle ──► one worker prepares ──► all prepare ──► the plan changes ──► all have switched ──► acknowledged
                        └── an error, a crash, the time limit: the plan stays, the error is reported ──► idle

One worker prepares first, so that a version that crashes its worker costs only one. Unloading needs no preparation: the plan
changes at once. Nothing here blocks, opens a bundle or answers a request: `step` reads the pages and writes the plan, once a
second and whenever a worker signals a change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Protocol

import msgspec

from mlrf.core.errors import BundleError
from mlrf.core.repository import POINTER, ModelDirectory, Version
from mlrf.serving.models.refused_version import RefusedVersion
from mlrf.serving.processes.pinned_files import close_descriptors, open_descriptors
from mlrf.serving.processes.reload_messages import Attempt, LoadCommand, LoadOutcome, Plan, ReloadPages, clipped

SWITCH_LIMIT_S = 5.0
"""Seconds after which a worker that has not switched is killed: switching takes microseconds, so it hangs, and it could later
answer from the old version."""


class Log(Protocol):
    """The log of the coordinator."""

    def info(self, event: str, **facts: object) -> None:
        """Log an ordinary event."""
        ...

    def warning(self, event: str, **facts: object) -> None:
        """Log an event that needs attention."""
        ...


class CoordinatorActions(msgspec.Struct, frozen=True):
    """Actions of a reload: wake all workers, end the worker of a slot, count how a reload ended."""

    wake: Callable[[], None]
    end: Callable[[int], None]
    count: Callable[[str], None]


class _AttemptInProgress(msgspec.Struct):
    attempt: Attempt
    requester: tuple[int, LoadCommand] | None
    """The slot and number of the request; None if the pointer on disk changed."""
    deadline_s: float
    committed: bool = False
    unloads: bool = False
    """Whether this is an unload."""
    spare: Mapping[str, int] = msgspec.field(default_factory=dict)
    """Descriptors to close when this is over: those of the new version, and after the switch those of the old one."""


class ReloadCoordinator(msgspec.Struct):
    """The state of the reload in progress, if any, and what was served and refused before it."""

    pages: ReloadPages
    model_directories: Mapping[str, ModelDirectory]
    timeout_s: float
    allow_schema_change: bool
    actions: CoordinatorActions
    log: Log
    pinned: dict[str, dict[str, int]] = msgspec.field(default_factory=dict)
    """By model, descriptors of the pinned files of the version in service, for workers started later."""
    refused: dict[str, RefusedVersion] = msgspec.field(default_factory=dict)
    """By model, versions that the start refused, until another is put into service."""
    plan: Plan = msgspec.field(default_factory=Plan)
    _in_progress: _AttemptInProgress | None = None
    _attempts: int = 0
    _answered: dict[int, tuple[int, int]] = msgspec.field(default_factory=dict)
    _pointers: dict[str, object] = msgspec.field(default_factory=dict)
    """By model, the state of the pointer file when it was last read."""

    def begin(self, versions: dict[str, Version], unavailable: Mapping[str, Version] = MappingProxyType({})) -> None:
        """Set what is served from the start, and what is not; pointers that have moved since then are followed."""
        for name, model_directory in self.model_directories.items():
            fingerprint = _pointer_fingerprint(model_directory)
            with suppress(BundleError):
                known = versions.get(name) if name not in self.refused else self.refused[name].version
                if model_directory.pointer().version == known:
                    self._pointers[name] = fingerprint
        self._set(versions=versions, unloaded=dict(unavailable))

    @property
    def is_idle(self) -> bool:
        """Whether no reload is in progress."""
        return self._in_progress is None

    def step(self, now_s: float, ready: set[int]) -> None:
        """Advance the reload as far as the reports allow; `ready` are the slots whose workers answer."""
        if self._in_progress is None:
            self._start(now_s, ready)
        if self._in_progress is not None:
            if self._in_progress.committed:
                self._finish(self._in_progress, now_s, ready)
            else:
                self._prepare(self._in_progress, now_s, ready)

    def crashed(self, slot: int) -> None:
        """Record that the worker of a slot died: an attempt it took part in has failed."""
        in_progress = self._in_progress
        if in_progress is not None and not in_progress.committed and self._invites(in_progress, slot):
            self._refuse(in_progress, f"the worker in slot {slot} died while it prepared the version")

    def _start(self, now_s: float, ready: set[int]) -> None:
        if not ready:
            return
        for slot, page in enumerate(self.pages.commands):
            command = page.read()
            if not command.number or self._answered.get(slot) == (command.pid, command.number):
                continue
            if command.version is None:
                self._unload(now_s, slot, command)
            else:
                self._attempt(now_s, ready, command.model, command.version, (slot, command))
            return
        for name, model_directory in self.model_directories.items():
            fingerprint = _pointer_fingerprint(model_directory)
            if fingerprint == self._pointers.get(name):
                continue
            self._pointers[name] = fingerprint
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
        self, now_s: float, ready: set[int], model: str, version: Version, requester: tuple[int, LoadCommand] | None
    ) -> None:
        self._attempts += 1
        # Not the worker that received the request, because it must survive to report the result.
        first = min(ready) if requester is None else min(ready, key=lambda slot: (slot == requester[0], slot))
        allowed = self.allow_schema_change or (requester is not None and requester[1].allow_schema_change)
        attempt = Attempt(self._attempts, model, version, allowed, first)
        self._in_progress = _AttemptInProgress(attempt, requester, now_s + self.timeout_s)
        if version == self.plan.versions.get(model):
            self._acknowledge(self._in_progress)
            return
        if requester is not None and requester[1].pinned:
            try:
                pinned = open_descriptors(requester[1].pid, requester[1].pinned)
            except BundleError as error:
                self._refuse(self._in_progress, str(error))
                return
            attempt = msgspec.structs.replace(attempt, pinned=pinned)
            self._in_progress.attempt, self._in_progress.spare = attempt, pinned
        self._set(attempt=attempt)

    def _unload(self, now_s: float, slot: int, command: LoadCommand) -> None:
        self._attempts += 1
        version = self.plan.versions.get(command.model)
        attempt = Attempt(
            self._attempts, command.model, version or self.plan.unloaded[command.model], allow_schema_change=False
        )
        deadline_s = now_s + SWITCH_LIMIT_S
        self._in_progress = _AttemptInProgress(attempt, (slot, command), deadline_s, committed=True, unloads=True)
        if version is None:
            self._answer(self._in_progress, "")
            return
        self._switch(self._in_progress)

    def _prepare(self, in_progress: _AttemptInProgress, now_s: float, ready: set[int]) -> None:
        attempt = in_progress.attempt
        waiting = []
        for slot in sorted(ready):
            if not self._invites(in_progress, slot):
                continue
            report = self.pages.reports[slot].read()
            if report.attempt != attempt.number:
                waiting.append(slot)
            elif not report.prepared:
                self._refuse(in_progress, report.reason, schema_changed=report.schema_changed)
                return
        if now_s >= in_progress.deadline_s:
            slots = ", ".join(map(str, waiting)) or "none"
            self._refuse(in_progress, f"not prepared within {self.timeout_s:g} s by the worker in slot {slots}")
        elif not waiting and attempt.slot is not None and ready:
            if attempt.slot not in ready:
                # The first worker left in order: choose another.
                self._change(in_progress, min(ready))
            else:
                self._change(in_progress, None)
        elif not waiting and ready:
            in_progress.committed = True
            in_progress.deadline_s = now_s + SWITCH_LIMIT_S
            self._switch(in_progress)

    def _finish(self, in_progress: _AttemptInProgress, now_s: float, ready: set[int]) -> None:
        late = [slot for slot in ready if self.pages.reports[slot].read().generation < self.plan.generation]
        if late and now_s < in_progress.deadline_s:
            return
        for slot in late:
            self.log.warning("worker did not switch", slot=slot)
            self.actions.end(slot)
        self._acknowledge(in_progress)

    def _change(self, in_progress: _AttemptInProgress, slot: int | None) -> None:
        attempt = in_progress.attempt
        in_progress.attempt = msgspec.structs.replace(attempt, slot=slot)
        self._set(attempt=in_progress.attempt)

    def _invites(self, in_progress: _AttemptInProgress, slot: int) -> bool:
        return in_progress.attempt.slot in (None, slot)

    def _acknowledge(self, in_progress: _AttemptInProgress) -> None:
        attempt = in_progress.attempt
        self.actions.count("unloaded" if in_progress.unloads else "done")
        self.log.info(
            "unloaded" if in_progress.unloads else "reloaded",
            model=attempt.model,
            version=attempt.version.number,
            digest=attempt.version.digest[:12],
        )
        self._answer(in_progress, "")

    def _refuse(self, in_progress: _AttemptInProgress, reason: str, *, schema_changed: bool = False) -> None:
        attempt = in_progress.attempt
        self.actions.count("refused")
        serving = self.plan.versions.get(attempt.model)
        self.log.warning(
            "reload refused",
            model=attempt.model,
            version=attempt.version.number,
            reason=reason,
            serving=None if serving is None else serving.number,
        )
        self._answer(in_progress, reason, schema_changed=schema_changed)

    def _answer(self, in_progress: _AttemptInProgress, reason: str, *, schema_changed: bool = False) -> None:
        if in_progress.requester is not None:
            slot, command = in_progress.requester
            self._answered[slot] = (command.pid, command.number)
            self.pages.outcomes[slot].write(LoadOutcome(command.pid, command.number, clipped(reason), schema_changed))
        self._in_progress = None
        self._set(attempt=None)
        close_descriptors(in_progress.spare)

    def _switch(self, in_progress: _AttemptInProgress) -> None:
        """Change the plan to serve the version of an attempt instead of the old one (no version for an unload)."""
        attempt, plan = in_progress.attempt, self.plan
        self.refused.pop(attempt.model, None)
        versions, unloaded, pinned = (
            {name: each for name, each in kept.items() if name != attempt.model}
            for kept in (plan.versions, plan.unloaded, plan.pinned)
        )
        (unloaded if in_progress.unloads else versions)[attempt.model] = attempt.version
        in_progress.spare = self.pinned.pop(attempt.model, {})
        if attempt.pinned:
            pinned[attempt.model] = self.pinned[attempt.model] = attempt.pinned
        self._set(generation=plan.generation + 1, versions=versions, unloaded=unloaded, pinned=pinned)

    def _set(self, **changes: object) -> None:
        self.plan = msgspec.structs.replace(self.plan, **changes)
        self.pages.plan.write(self.plan)
        self.actions.wake()


def _pointer_fingerprint(model_directory: ModelDirectory) -> object:
    """Return what changes when the pointer is replaced, without reading it."""
    try:
        found = (model_directory.path / POINTER).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size

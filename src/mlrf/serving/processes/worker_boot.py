"""What a worker inherits through the fork, and the shared words in which it reports its start and exit."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence

import msgspec

from mlrf.core.bundle import Bundle
from mlrf.core.errors import BundleError, ConfigError
from mlrf.core.repository import ModelDirectory
from mlrf.serving.auth.access_control import AccessControl
from mlrf.serving.config.settings import ServeSettings
from mlrf.serving.models.refused_version import RefusedVersion
from mlrf.serving.processes.admin_listener import AdminListener
from mlrf.serving.processes.listeners import Listeners
from mlrf.serving.processes.reload_messages import WAKE, ReloadPages
from mlrf.serving.processes.start_timing import StartTiming
from mlrf.serving.runtime.control_block import ControlBlock
from mlrf.serving.runtime.cost_model import CostModel
from mlrf.serving.telemetry.exposition import Exposition
from mlrf.serving.telemetry.logs import Log
from mlrf.serving.telemetry.metric_positions import Layout

BOOT_WORDS = 4
"""Words in a slot's row in addition to the metrics: why its last worker could not start, whether a worker was ever ready,
whether the last one exited in order, and, in the first slot's row only, whether the server has been stopped."""
_FAILURE, _ANSWERED, _LEAVING, _SHUTDOWN = range(BOOT_WORDS)
_EXIT_FAILED, _EXIT_CONFIG, _EXIT_BUNDLE = 1, 2, 3


class WorkerBoot(msgspec.Struct):
    """What a worker inherits through the fork."""

    settings: ServeSettings
    bundles: Sequence[Bundle]
    layout: Layout
    block: ControlBlock
    exposition: Exposition
    log: Log
    reload_pages: ReloadPages
    access: AccessControl
    model_directories: Mapping[str, ModelDirectory]
    """The models that are served from a repository."""
    admin: AdminListener | None = None
    grpc: Listeners | None = None
    """Where workers listen for gRPC, if they do."""
    refused: dict[str, RefusedVersion] = msgspec.field(default_factory=dict)
    """By model, versions that the start of the server refused, without those that were replaced since."""
    costs: dict[str, CostModel] = msgspec.field(default_factory=dict)
    """By version, the cost models that were measured when the versions were replayed."""
    timing: StartTiming | None = None
    """The phases of the start, which the first worker of slot 0 ends and logs; None if they were not requested."""
    arbiter: int = 0
    """The arbiter's process id."""
    pinned: dict[str, dict[str, int]] = msgspec.field(default_factory=dict)
    """By model, the arbiter's descriptors of its pinned files, as they were when this worker was forked."""

    def wake_arbiter(self) -> None:
        """Wake the arbiter, which then reads the shared memory."""
        if os.getppid() == self.arbiter:
            os.kill(self.arbiter, WAKE)

    def report_failure(self, slot: int, error: Exception) -> None:
        """Store why a worker could not start, as an exit code, for the arbiter."""
        self.block.row(slot)[self.layout.n_words + _FAILURE] = _exit_code(error)

    def take_failure(self, slot: int) -> int:
        """Return and clear the exit code that a worker of this slot stored, or 0."""
        row = self.block.row(slot)
        code = int(row[self.layout.n_words + _FAILURE])
        row[self.layout.n_words + _FAILURE] = 0
        return code

    def has_answered(self) -> bool:
        """Whether any worker was ever ready."""
        return bool(self.block.total(self.layout.n_words + _ANSWERED))

    def note_leaving(self, slot: int) -> None:
        """Record that a worker of this slot ends on request, or to be replaced."""
        self.block.row(slot)[self.layout.n_words + _LEAVING] = 1

    def take_leaving(self, slot: int) -> bool:
        """Return and clear whether the worker of this slot exited in order."""
        row = self.block.row(slot)
        left = bool(row[self.layout.n_words + _LEAVING])
        row[self.layout.n_words + _LEAVING] = 0
        return left

    def ready_slots(self) -> set[int]:
        """Return the slots whose workers answer."""
        word = self.layout.word("mlrf_workers_ready")
        return {slot for slot in range(self.block.n_slots) if self.block.row(slot)[word]}

    def serving_slots(self) -> set[int]:
        """Return the slots whose workers still answer: ready ones, and those that are draining."""
        word = self.layout.n_words + _LEAVING
        return self.ready_slots() | {slot for slot in range(self.block.n_slots) if self.block.row(slot)[word]}

    def note_shutdown(self) -> None:
        """Record that the server was asked to stop, but still accepts for a while."""
        self.block.row(0)[self.layout.n_words + _SHUTDOWN] = 1

    def is_shutting_down(self) -> bool:
        """Return whether the server was asked to stop, but still accepts for a while."""
        return bool(self.block.row(0)[self.layout.n_words + _SHUTDOWN])

    def count_reload(self, outcome: str) -> None:
        """Count a reload or an unload, in the first slot's row: no worker writes these words."""
        unloads = outcome == "unloaded"
        word = self.layout.word("mlrf_unloads_total") if unloads else self.layout.word("mlrf_reloads_total", outcome)
        row = self.block.row(0)
        row[word] += 1
        if outcome == "done":
            row[self.layout.word("mlrf_last_reload_timestamp_seconds")] = time.time_ns() // 1_000_000

    def note_stores(self, *, up: bool) -> None:
        """Store whether all stores of models could be followed, in the first slot's row, as `count_reload` does."""
        self.block.row(0)[self.layout.word("mlrf_model_store_up")] = up

    def count_failure(self, slot: int) -> None:
        """Count a worker that ended unexpectedly or never started, in its slot's row, which has no other writer then."""
        self.block.row(slot)[self.layout.word("mlrf_worker_failures_total")] += 1

    def note_answered(self, slot: int) -> None:
        """Record that a worker of this slot is ready."""
        row, index = self.block.row(slot), self.layout.n_words + _ANSWERED
        if self.timing is not None and slot == 0 and not row[index]:
            self.timing.end_phase("fork and worker")
            self.log.info("start timing", **self.timing.facts())
        row[index] = 1


def _exit_code(error: Exception) -> int:
    if isinstance(error, BundleError):
        return _EXIT_BUNDLE
    return _EXIT_CONFIG if isinstance(error, ConfigError) else _EXIT_FAILED

"""What a worker inherits through the fork, and the two words in which it tells the arbiter how its start went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlrf.core.bundle import Bundle
from mlrf.core.errors import BundleError, ConfigError
from mlrf.serving.control import ControlBlock
from mlrf.serving.exposition import Exposition
from mlrf.serving.logs import Log
from mlrf.serving.metrics import Layout
from mlrf.serving.processes.admin_listener import AdminListener
from mlrf.serving.settings import ServeSettings

BOOT_WORDS = 2
"""Beyond the metrics in a slot's row: why its last worker could not boot, and whether one was ever ready."""
_FAILURE, _ANSWERED = range(BOOT_WORDS)
_EXIT_FAILED, _EXIT_CONFIG, _EXIT_BUNDLE = 1, 2, 3


@dataclass(slots=True)
class Boot:
    """What a worker inherits through the fork."""

    settings: ServeSettings
    bundles: Sequence[Bundle]
    layout: Layout
    block: ControlBlock
    exposition: Exposition
    log: Log
    admin: AdminListener | None = None

    def report_failure(self, slot: int, error: Exception) -> None:
        """Leave the reason why a worker could not boot, as an exit code, where the arbiter finds it."""
        self.block.row(slot)[self.layout.n_words + _FAILURE] = _exit_code(error)

    def take_failure(self, slot: int) -> int:
        """Return the exit code that a worker of this slot left, or 0, and forget it."""
        row = self.block.row(slot)
        code = int(row[self.layout.n_words + _FAILURE])
        row[self.layout.n_words + _FAILURE] = 0
        return code

    def has_answered(self) -> bool:
        """Whether any worker was ever ready."""
        return bool(self.block.total(self.layout.n_words + _ANSWERED))

    def note_answered(self, slot: int) -> None:
        """Record that a worker of this slot is ready."""
        self.block.row(slot)[self.layout.n_words + _ANSWERED] = 1


def _exit_code(error: Exception) -> int:
    if isinstance(error, BundleError):
        return _EXIT_BUNDLE
    return _EXIT_CONFIG if isinstance(error, ConfigError) else _EXIT_FAILED

"""The arbiter's part in a reload without processes: pages, ready slots, and a manual clock."""

from __future__ import annotations

import msgspec
import pytest

from mlrf.core.repository import ModelDirectory, Pointer, Version
from mlrf.serving.processes.reload_coordinator import SWITCH_LIMIT_S, CoordinatorActions, ReloadCoordinator
from mlrf.serving.processes.reload_messages import LoadCommand, LoadOutcome, Page, Plan, ReloadPages, Report, clipped
from mlrf.serving.runtime.control_block import ControlBlock
from mlrf.serving.telemetry.logs import Log

OLD, NEW = Version(1, "a" * 64), Version(2, "b" * 64)
BOTH = {0, 1}


class Play:
    def __init__(self, folder):
        self.model_directory = ModelDirectory(folder / "m")
        self.model_directory.path.mkdir()
        self.point(OLD)
        self.pages = ReloadPages(2, 1)
        self.ended: list[int] = []
        self.outcomes: list[str] = []
        self.reloading = ReloadCoordinator(
            self.pages, {"m": self.model_directory}, 10.0, False, CoordinatorActions(lambda: None, self.ended.append, self.outcomes.append), Log("error")
        )  # fmt: skip
        self.reloading.begin({"m": OLD})
        self.now = 0.0
        for slot in BOTH:
            self.report(slot)

    def point(self, version):
        work = self.model_directory.path / "work"
        work.write_bytes(msgspec.json.encode(Pointer(version.number, version.digest)))
        work.rename(self.model_directory.path / "current.json")

    def step(self, ready=BOTH, *, after_s=0.0):
        self.now += after_s
        self.reloading.step(self.now, set(ready))
        return self.pages.plan.read()

    def report(self, slot, **facts):
        self.pages.reports[slot].write(Report(slot, **facts))

    def ask(self, slot, number=1, version=NEW):
        self.pages.commands[slot].write(LoadCommand(slot, number, "m", version))

    def unload(self, slot=0):
        """What an operator asks of a worker, done by all of them."""
        self.ask(slot, version=None)
        plan = self.step()
        for each in BOTH:
            self.report(each, generation=plan.generation)
        return self.step()


@pytest.fixture
def play(tmp_path):
    return Play(tmp_path)


def test_reload_prepares_one_then_all_then_switches(play):
    play.ask(1)
    assert play.step().attempt.slot == 0, "the one who was asked lives to tell what came of it"
    assert play.step().attempt.slot == 0
    play.report(0, attempt=1, prepared=True)
    assert play.step().attempt.slot is None
    assert play.step().generation == 0, "the other one has not prepared"
    play.report(1, attempt=1, prepared=True)
    plan = play.step()
    assert (plan.generation, plan.versions) == (1, {"m": NEW})
    assert play.pages.outcomes[1].read().number == 0, "no worker has switched"
    play.report(0, attempt=1, generation=1)
    play.step()
    assert play.pages.outcomes[1].read().number == 0, "one has"
    play.report(1, attempt=1, generation=1)
    assert play.step().attempt is None
    answer = play.pages.outcomes[1].read()
    assert (answer.number, answer.reason) == (1, "")
    assert (play.outcomes, play.ended) == (["done"], [])
    assert play.step().attempt is None, "an ask is answered once"


def test_failed_reload_keeps_the_old_version_and_is_logged(play):
    play.ask(1)
    play.step()
    play.report(0, attempt=1, prepared=False, reason="a golden row")
    plan = play.step()
    assert (plan.generation, plan.versions, plan.attempt) == (0, {"m": OLD}, None)
    assert play.pages.outcomes[1].read().reason == "a golden row"
    assert play.outcomes == ["refused"]


def test_a_failure_of_the_second_keeps_it_too(play):
    play.ask(1)
    play.step()
    play.report(0, attempt=1, prepared=True)
    play.step()
    play.report(1, attempt=1, prepared=False, reason="no memory")
    assert play.step().versions == {"m": OLD}
    assert play.pages.outcomes[1].read().reason == "no memory"


def test_slow_worker_ends_the_attempt(play):
    play.ask(0)
    play.step()
    play.report(1, attempt=1, prepared=True)
    play.step()
    play.step(after_s=10.1)
    assert "not prepared within 10 s by the worker in slot 0" in play.pages.outcomes[0].read().reason


def test_only_a_participants_death_ends_the_attempt(play):
    play.ask(0)
    play.step()
    play.reloading.crashed(0)
    assert not play.reloading.is_idle, "slot 0 was not asked to prepare yet"
    play.reloading.crashed(1)
    assert play.reloading.is_idle
    assert "slot 1 died" in play.pages.outcomes[0].read().reason


def test_worker_that_does_not_switch_is_killed_first(play):
    play.ask(0)
    play.step()
    for slot in BOTH:
        play.report(slot, attempt=1, prepared=True)
    play.step()
    play.step()
    play.report(0, attempt=1, generation=1)
    play.step(after_s=SWITCH_LIMIT_S - 0.1)
    assert (play.ended, play.pages.outcomes[0].read().number) == ([], 0)
    play.step(after_s=0.2)
    assert (play.ended, play.pages.outcomes[0].read().number) == ([1], 1)


def test_worker_ready_during_preparation_is_included(play):
    play.ask(0)
    play.step({0})
    play.report(0, attempt=1, prepared=True)
    assert play.step({0}).attempt.slot is None
    assert play.step(BOTH).generation == 0
    play.report(1, attempt=1, prepared=True)
    assert play.step(BOTH).generation == 1


def test_a_first_one_that_leaves_in_order_is_followed_by_another(play):
    play.ask(0)
    assert play.step().attempt.slot == 1
    assert play.step({0}).attempt.slot == 0


def test_no_reload_starts_while_no_worker_answers(play):
    play.ask(0)
    assert play.step(set()).attempt is None
    assert play.step().attempt is not None


def test_moved_pointer_is_followed_a_refused_one_only_once(play):
    assert play.step().attempt is None
    play.point(NEW)
    assert play.step().attempt.version == NEW
    play.report(0, attempt=1, prepared=False, reason="bad")
    assert play.step().attempt is None
    assert play.step(after_s=60).attempt is None
    play.point(OLD)
    assert play.step().attempt is None, "it is served already"
    play.point(NEW)
    assert play.step().attempt is not None, "asked for anew"


def test_pointer_moved_before_the_first_check_is_followed(play):
    play.point(NEW)
    play.reloading.begin({"m": OLD})
    assert play.step().attempt.version == NEW


def test_a_pointer_that_cannot_be_read_changes_nothing(play):
    (play.model_directory.path / "current.json").write_text("{")
    assert play.step().attempt is None
    assert play.step().versions == {"m": OLD}


def test_what_is_served_already_is_acknowledged_at_once(play):
    play.pages.commands[0].write(LoadCommand(0, 1, "m", OLD))
    plan = play.step()
    assert (plan.generation, play.pages.outcomes[0].read().number) == (0, 1)


def test_unloading_is_acknowledged_when_every_worker_has_let_go(play):
    play.ask(1, version=None)
    plan = play.step()
    assert (plan.generation, plan.versions, plan.unloaded, plan.attempt) == (1, {}, {"m": OLD}, None)
    play.report(0, generation=1)
    play.step()
    assert play.pages.outcomes[1].read().number == 0, "one has"
    play.report(1, generation=1)
    play.step()
    assert play.pages.outcomes[1].read() == LoadOutcome(1, 1)
    assert (play.outcomes, play.ended, play.reloading.is_idle) == (["unloaded"], [], True)


def test_worker_that_does_not_unload_is_killed_first(play):
    play.ask(0, version=None)
    play.step()
    play.report(0, generation=1)
    play.step(after_s=SWITCH_LIMIT_S + 0.1)
    assert (play.ended, play.pages.outcomes[0].read().number) == ([1], 1)


def test_unloaded_model_returns_only_by_a_load(play):
    play.unload()
    play.point(NEW)
    assert play.step().attempt is None, "not by its pointer"
    play.ask(0, number=2, version=OLD)
    assert play.step().attempt.version == OLD
    play.report(1, attempt=2, generation=1, prepared=True)
    play.step()
    play.report(0, attempt=2, generation=1, prepared=True)
    plan = play.step()
    assert (plan.generation, plan.versions, plan.unloaded) == (2, {"m": OLD}, {})
    for slot in BOTH:
        play.report(slot, attempt=2, generation=2)
    assert play.step().attempt is None, "nor is the pointer followed that moved before"
    assert play.pages.outcomes[0].read() == LoadOutcome(0, 2)
    assert play.outcomes == ["unloaded", "done"]


def test_a_load_that_is_refused_leaves_it_out(play):
    play.unload()
    play.ask(0, number=2)
    play.step()
    play.report(1, attempt=2, generation=1, reason="a golden row")
    plan = play.step()
    assert (plan.generation, plan.versions, plan.unloaded) == (1, {}, {"m": OLD})
    assert play.pages.outcomes[0].read().reason == "a golden row"
    assert play.outcomes == ["unloaded", "refused"]


def test_what_is_unloaded_already_is_acknowledged_at_once(play):
    play.unload()
    play.ask(1, version=None)
    plan = play.step()
    assert (plan.generation, play.pages.outcomes[1].read().number) == (1, 1)
    assert play.outcomes == ["unloaded"], "and not counted"


def page():
    return Page(ControlBlock(1, 512).row(0), Plan)


def test_page_shows_only_complete_messages():
    words = ControlBlock(1, 512).row(0)
    writing, reading = Page(words, Plan), Page(words, Plan)
    assert reading.read() == Plan()
    writing.write(Plan(3, {"m": OLD}))
    assert reading.read().generation == 3
    words[0] = 0  # as a writer that is in the midst of it, or died there
    words.cast("B")[20] ^= 0xFF
    assert reading.read().generation == 3
    Page(words, Plan).write(Plan(4))
    assert reading.read() == Plan(4)


def test_process_forked_during_a_write_has_the_old_message():
    words = ControlBlock(1, 512).row(0)
    inherited = Page(words, Plan)
    inherited.write(Plan(3, {"m": OLD}))
    words[0] = 0
    assert inherited.read() == Plan(3, {"m": OLD})


def test_a_replacement_writes_on_under_new_numbers():
    words = ControlBlock(1, 512).row(0)
    reading = Page(words, Plan)
    Page(words, Plan).write(Plan(1))
    assert reading.read() == Plan(1)
    Page(words, Plan).write(Plan(2))
    assert reading.read() == Plan(2)


def test_a_message_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="do not fit"):
        page().write(Plan(1, {str(i): OLD for i in range(100)}))


def test_every_reason_fits_a_page():
    report = Report(1, 1, 1, False, clipped("\x00" * 100_000))
    ReloadPages(1, 0).reports[0].write(report)
    assert ReloadPages(1, 0).reports[0].read() == Report()

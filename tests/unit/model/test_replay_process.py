"""The child process that replays golden rows, and what its parent does meanwhile."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from bundles import write_tree_bundle
from mlrf.core.bundle import read_bundle
from mlrf.model.replay_process import Replayed, replay_in_child


def children():
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split()


@pytest.fixture
def bundle(tmp_path):
    return read_bundle(write_tree_bundle(tmp_path / "b"))


def test_the_parent_works_while_its_child_replays(bundle):
    found, before = [], children()
    outcomes = replay_in_child(
        [bundle], meanwhile=lambda: found.append(children()), measure=lambda model: [len(model.schema.features)]
    )
    assert [len(each) for each in found] == [len(before) + 1]
    assert outcomes == {"sample": Replayed("", [bundle.manifest.n_features])}
    assert children() == before


def test_an_infinite_measure_is_returned_as_it_is(bundle):
    """As the time of a batch that takes too long to be timed; as JSON it would be null, and no worker would start."""
    assert replay_in_child([bundle], measure=lambda _model: [math.inf, 0.1])["sample"].measured == [math.inf, 0.1]


def test_what_fails_meanwhile_ends_the_child(bundle):
    def fail():
        raise MemoryError

    before = children()
    with pytest.raises(MemoryError):
        replay_in_child([bundle], meanwhile=fail)
    assert children() == before


def test_a_reason_may_name_a_path_that_is_not_utf8(tmp_path):
    path = write_tree_bundle(tmp_path / "b").rename(tmp_path / os.fsdecode(b"\xff"))
    bundle = read_bundle(path)

    def fail(_model):
        raise ValueError("no measure")

    assert replay_in_child([bundle], measure=fail)["sample"].reason.startswith(f"{tmp_path}/\\udcff: ")

"""Children of a server that are busy when the arbiter is killed: none is left, though it cannot look for its parent."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bundles import write_tree_bundle
from running import children_of, command, eventually, is_alive

SLEEP = "import pathlib, time; sleep = lambda *a, **k: (pathlib.Path({!r}).touch(), time.sleep(600)); "
BOOTING = SLEEP + "import mlrf.serving.processes.worker as w; w.share_one_arena = sleep"
REPLAYING = SLEEP + "import mlrf.model.replay_process as r; r.replay = sleep"
SEEDING = """
import subprocess, sys, os
child = '''
import sys, time
from mlrf.features import seed_store
seed_store.read_bundle = lambda *a, **k: (print("reading", flush=True), time.sleep(600))
seed_store.main(sys.argv[1:])
'''
subprocess.Popen([sys.executable, "-c", child, "bundle", "state", "version", "0", "0", str(os.getpid())]).wait()
"""


def killed(process):
    children = eventually(lambda: children_of(process.pid), 60, "a child")
    process.kill()
    process.wait(30)
    eventually(lambda: not any(map(is_alive, children)), 30, "the end of the children")


@pytest.mark.parametrize("broken_by", [BOOTING, REPLAYING], ids=["booting", "replaying"])
def test_a_busy_child_ends_with_the_arbiter(tmp_path, broken_by):
    path, mark = write_tree_bundle(tmp_path / "b"), tmp_path / "busy"
    process = subprocess.Popen(
        command([path], "--port", "0", "--workers", "1", broken_by=broken_by.format(str(mark))),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    eventually(mark.exists, 60, "a busy child")
    killed(process)


def test_the_process_that_loads_rows_ends_with_the_arbiter():
    process = subprocess.Popen([sys.executable, "-c", SEEDING], stdout=subprocess.PIPE)
    with process:
        assert process.stdout.readline() == b"reading\n"
        killed(process)

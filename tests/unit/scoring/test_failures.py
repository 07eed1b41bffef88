"""Disks that are full or not writable, and inputs that vanish: one sentence, and the parts before stay."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bundles import NUMBERS, write_tree_bundle
from mlrf.core.errors import ConfigError
from mlrf.scoring import Scorer, score

GROUP, GROUPS = 40, 5


@pytest.fixture
def folder(tmp_path):
    write_tree_bundle(tmp_path / "b", schema=NUMBERS)
    values = np.random.default_rng(0).normal(size=(3, GROUP * GROUPS))
    table = pa.table({"id": np.arange(GROUP * GROUPS), **{f"x{i}": values[i] for i in range(3)}})
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=GROUP)
    shutil.copy(tmp_path / "rows.parquet", tmp_path / "second.parquet")
    return tmp_path


def scored_by_command(folder, out, *options):
    code = "import sys; from mlrf.cli import main; sys.exit(main(sys.argv[1:]))"
    arguments = ["score", folder / "b", folder / "rows.parquet", "-o", out, "--workers=1", "--keep=id", *options]
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False
    )


@contextmanager
def small_disk(path, options):
    """A file system of its own, in memory; skips the test where none can be mounted."""
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "none", path]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)


@pytest.mark.parametrize("kind", ["parquet", "arrow", "csv"])
def test_a_full_disk_is_one_sentence_and_the_job_continues(folder, kind):
    with small_disk(folder / "disk", "size=64k") as disk:
        filler = disk / "other"
        filler.write_bytes(b"x" * (52 << 10))
        failed = scored_by_command(folder, disk / "out", f"--format={kind}")
        assert failed.returncode == 1, failed.stderr
        assert failed.stderr.count("\n") == 1
        assert "cannot be written" in failed.stderr
        assert "No space left on device" in failed.stderr
        finished = {path.name: path.read_bytes() for path in (disk / "out").glob("part-*")}
        assert len(finished) < GROUPS
        filler.unlink()
        assert scored_by_command(folder, disk / "out", f"--format={kind}").returncode == 0
        now = {path.name: path.read_bytes() for path in (disk / "out").glob("part-*")}
        assert len(now) == GROUPS
        assert finished.items() <= now.items()
        assert not list((disk / "out").glob(".*"))


def test_a_disk_that_cannot_be_written_is_one_sentence(folder):
    with small_disk(folder / "disk", "ro,size=64k") as disk:
        failed = scored_by_command(folder, disk / "out")
    assert failed.returncode == 1, failed.stderr
    assert failed.stderr.count("\n") == 1
    assert "out cannot be written: Read-only file system; finished parts are kept" in failed.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_without_permission_is_one_sentence(folder):
    (folder / "closed").mkdir(mode=0o555)
    failed = scored_by_command(folder, folder / "closed/out")
    assert failed.returncode == 1, failed.stderr
    assert failed.stderr.count("\n") == 1
    assert "Permission denied" in failed.stderr


@pytest.mark.parametrize("when", ["before", "between"])
def test_a_vanished_input_is_one_sentence_and_leaves_the_parts(folder, monkeypatch, when):
    inputs = [folder / "rows.parquet", folder / "second.parquet"]
    if when == "before":
        inputs[1].unlink()
        with pytest.raises(ConfigError, match=r"second.parquet cannot be read: no such file"):
            score(folder / "b", inputs, folder / "out")
        assert not (folder / "out").exists()
        return
    real = Scorer.answer
    calls = []

    def answer(self, *arguments):
        calls.append(1)
        if len(calls) == GROUPS:
            inputs[1].unlink()
        return real(self, *arguments)

    monkeypatch.setattr(Scorer, "answer", answer)
    with pytest.raises(ConfigError, match=r"second.parquet (cannot be read|changed)") as refused:
        score(folder / "b", inputs, folder / "out", workers=1)
    assert "\n" not in str(refused.value)
    assert GROUPS - 1 <= len(list((folder / "out").glob("part-*"))) < 2 * GROUPS

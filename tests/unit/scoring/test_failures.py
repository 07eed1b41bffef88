"""Disks that are full or not writable, and inputs that vanish: one sentence, and the parts before stay."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bundles import NUMBERS, write_tree_bundle
from mlrf.cli import main
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


def scored_by_command(capsys, folder, out, *options):
    """The exit status of the command and its standard error."""
    arguments = ["score", folder / "b", folder / "rows.parquet", "-o", out, "--workers=1", "--keep=id", *options]
    status = main(list(map(str, arguments)))
    return status, capsys.readouterr().err


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
        # Lazily: a failed writer may keep its file open until it is collected.
        subprocess.run(["umount", "--lazy", path], check=True)


@pytest.mark.parametrize("kind", ["parquet", "arrow", "csv"])
def test_a_full_disk_is_one_sentence_and_the_job_continues(folder, kind, capsys):
    with small_disk(folder / "disk", "size=64k") as disk:
        filler = disk / "other"
        filler.write_bytes(b"x" * (52 << 10))
        status, stderr = scored_by_command(capsys, folder, disk / "out", f"--format={kind}")
        assert (status, stderr.count("\n")) == (1, 1), stderr
        assert "cannot be written" in stderr
        assert "No space left on device" in stderr
        finished = {path.name: path.read_bytes() for path in (disk / "out").glob("part-*")}
        assert len(finished) < GROUPS
        filler.unlink()
        assert scored_by_command(capsys, folder, disk / "out", f"--format={kind}")[0] == 0
        now = {path.name: path.read_bytes() for path in (disk / "out").glob("part-*")}
        assert len(now) == GROUPS
        assert finished.items() <= now.items()
        assert not list((disk / "out").glob(".*"))


def test_a_disk_that_cannot_be_written_is_one_sentence(folder, capsys):
    with small_disk(folder / "disk", "ro,size=64k") as disk:
        status, stderr = scored_by_command(capsys, folder, disk / "out")
    assert (status, stderr.count("\n")) == (1, 1), stderr
    assert "out cannot be written: Read-only file system; finished parts are kept" in stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_without_permission_is_one_sentence(folder, capsys):
    (folder / "closed").mkdir(mode=0o555)
    status, stderr = scored_by_command(capsys, folder, folder / "closed/out")
    assert (status, stderr.count("\n")) == (1, 1), stderr
    assert "Permission denied" in stderr


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

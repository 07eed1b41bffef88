"""The builder that `--build-at-start` runs: its environment and its limits, and what it may be given."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from mlrf.builder.model_source import MAX_MODEL_BYTES
from mlrf.core.errors import BundleError
from mlrf.serving.config.settings import ServeSettings
from mlrf.serving.processes import build_at_start
from mlrf.serving.processes.builder_process import run_builder
from mlrf.serving.telemetry.logs import Log
from running import eventually


@pytest.fixture
def environment_of_the_builder(tmp_path, monkeypatch):
    """Run a program that writes its environment in place of Python, and return that."""
    shown = tmp_path / "environment"
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\nenv > '{shown}'\n")
    program.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(program))

    def run(out: Path) -> dict[str, str]:
        build_at_start._build(tmp_path / "model.txt", out, "sales")
        return dict(line.split("=", 1) for line in shown.read_text().splitlines() if "=" in line)

    return run


def test_the_builder_writes_below_the_state_directory(tmp_path, monkeypatch, environment_of_the_builder):
    """The temporary folder of a container may be too small for the rows and the model that the parity check writes."""
    for name in ("TMPDIR", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLRF_PORT", "8080")
    out = tmp_path / "built/sales"
    environment = environment_of_the_builder(out)
    assert (environment["TMPDIR"], environment["HOME"]) == (str(out.parent), str(out.parent))
    assert "MLRF_PORT" not in environment


def test_a_given_folder_for_temporary_files_is_kept(tmp_path, monkeypatch, environment_of_the_builder):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "given"))
    assert environment_of_the_builder(tmp_path / "built/sales")["TMPDIR"] == str(tmp_path / "given")


def run(script, limit_s=300.0, most_bytes=16 << 30):
    return run_builder([sys.executable, "-c", script], os.environ, limit_s=limit_s, most_bytes=most_bytes)


def test_only_the_end_of_what_a_builder_writes_is_kept():
    status, stderr = run("import sys; sys.stderr.write('x' * (32 << 20) + 'the end'); sys.exit(7)")
    assert (status, len(stderr), stderr[-7:]) == (7, 1 << 16, "the end")


def test_a_builder_that_hangs_ends_at_the_limit_with_what_it_started(tmp_path):
    script = f"""
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
open({str(tmp_path / "pid")!r}, "w").write(str(child.pid))
os.rename({str(tmp_path / "pid")!r}, {str(tmp_path / "child")!r})
os.close(2)
time.sleep(1000)
"""
    with pytest.raises(TimeoutError):
        run(script, limit_s=2.0)
    if (tmp_path / "child").exists():  # else it was too slow to start one
        child = int((tmp_path / "child").read_text())
        eventually(lambda: has_ended(child), what="the end of the builder's child")


def test_a_child_that_outlives_the_builder_is_not_waited_for(tmp_path):
    script = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100000)"])
open({str(tmp_path / "child")!r}, "w").write(str(child.pid))
"""
    assert run(script).status == 0
    eventually(lambda: has_ended(int((tmp_path / "child").read_text())), what="the end of the builder's child")


def has_ended(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_builder_that_takes_too_much_memory_fails_alone():
    assert run("bytearray(1 << 40)", most_bytes=4 << 30).status == 1


@pytest.mark.parametrize(
    ("names", "said"), [(["a.txt", "b.txt"], r"has 2 entries \(a.txt, b.txt\)"), ([], "is empty")], ids=["two", "none"]
)
def test_a_directory_without_a_single_model_is_named(tmp_path, names, said):
    (tmp_path / "models/below").mkdir(parents=True)
    for name in names:
        (tmp_path / "models/below" / name).write_text("x")
    settings = ServeSettings(bundles=(tmp_path / "models",), build_at_start=True, model_name="sales")
    with pytest.raises(BundleError, match=rf"below: {said}; what is built at the start must be the only file"):
        build_at_start.built_bundles(settings)
    for name in names:
        file = tmp_path / "models/below" / name
        one = ServeSettings(bundles=(file,), build_at_start=True, model_name="sales")
        assert list(build_at_start.built_bundles(one)) == [file]


def test_a_model_larger_than_the_builder_reads_is_not_read(tmp_path):
    assert build_at_start.MAX_MODEL_BYTES == MAX_MODEL_BYTES
    with (tmp_path / "model.txt").open("wb") as file:
        file.truncate(MAX_MODEL_BYTES + 1)
    settings = ServeSettings(bundles=(tmp_path / "model.txt",), build_at_start=True, model_name="sales")
    with pytest.raises(BundleError, match="is larger than 4 GiB"):
        build_at_start.built_bundles(settings)


def test_a_model_that_changes_while_it_is_built_is_not_served(tmp_path, monkeypatch):
    model, program = tmp_path / "model.txt", tmp_path / "python"
    model.write_text("before")
    program.write_text(f"#!/bin/sh\nmkdir -p \"$6\"\necho after > '{model}'\n")
    program.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(program))
    settings = ServeSettings(bundles=(model,), build_at_start=True, model_name="sales", state_dir=tmp_path / "state")
    with pytest.raises(BundleError, match="changed while its bundle was built"):
        build_at_start.build_models(settings, Log("error"))
    assert list((tmp_path / "state").rglob("sales")) == []

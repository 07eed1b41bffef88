"""The environment of the builder that `--build-at-start` runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlrf.serving.processes import build_at_start


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

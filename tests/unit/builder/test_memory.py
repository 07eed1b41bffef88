"""Builds that cannot fit into memory are refused before any of it is used."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

import mlrf
from mlrf.builder import memory
from mlrf.core.errors import BuildError
from wide_models import wide_model_text


def test_an_address_space_limit_bounds_what_is_available():
    script = (
        "import resource\nfrom mlrf.builder.memory import available_bytes\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), used + (64 << 20)))\nprint(available_bytes())\n"
    )
    stdout = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert 32 << 20 < int(stdout) <= 64 << 20
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY or memory.available_bytes()


def test_a_container_limit_counts_what_processes_hold(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_CONTROL_GROUP", tmp_path)
    (tmp_path / "memory.max").write_text("104857600\n")
    (tmp_path / "memory.stat").write_text("anon 4857600\nfile 99000000\n")
    assert memory.available_bytes() == 100_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.available_bytes() > 100_000_000


@pytest.mark.parametrize(("available", "message"), [(1 << 10, "reading the model file"), (9 << 20, "600 features")])
def test_a_build_that_cannot_fit_is_refused_in_a_sentence(tmp_path, monkeypatch, available, message):
    model = tmp_path / "wide.txt"
    model.write_text(wide_model_text(600, 2))
    monkeypatch.setattr(memory, "available_bytes", lambda: available)
    with pytest.raises(
        BuildError, match=rf"{message}.* needs at least .* MiB of memory, but .* are available; build on"
    ):
        mlrf.build(model, tmp_path / "b", name="wide")
    assert [path.name for path in tmp_path.iterdir()] == ["wide.txt"]

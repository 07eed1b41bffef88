"""What a shell offers for `mlrf serve …`, in the way that a shell asks."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mlrf.cli import main
from mlrf.serving.config.settings import OPTIONS


def environment(line):
    """Return the variables with which bash asks what to offer for the last word of a line."""
    words = line.split(" ")
    return {"_MLRF_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}


def test_every_option_of_serve_is_offered():
    flags = {each.flag for each in OPTIONS if not each.positional}
    call = [sys.executable, "-c", "import sys; from mlrf.cli import main; sys.exit(main())"]
    variables = {**os.environ, **environment("mlrf serve bundle --")}
    done = subprocess.run(call, env=variables, capture_output=True, text=True, check=True)
    assert flags | {"--config", "--print-config", "--help"} <= set(done.stdout.split())


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("mlrf serve --print", ["--print-config", "--print-timing"]),
        ("mlrf serve bundle --port 80 --on-bad", ["--on-bad-model"]),
        ("mlrf serve --on-bad-model ", ["fall-back", "exit"]),
        ("mlrf serve bundle --on-bad-model e", ["exit"]),
        ("mlrf serve ", []),  # nothing of ours: the shell offers files
        ("mlrf serve --state-dir ", []),
    ],
)
def test_options_and_their_choices_are_offered(line, expected, monkeypatch, capsys):
    for name, value in environment(line).items():
        monkeypatch.setenv(name, value)
    assert main([]) == 0
    assert capsys.readouterr().out.split() == expected

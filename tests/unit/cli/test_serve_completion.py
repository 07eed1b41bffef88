"""What a shell offers for `mlrf serve …`, asked of the program as the shell asks it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mlrf.serving.config.settings import OPTIONS


def offered(line):
    """Return what bash is offered for the last word of a line."""
    words = line.split(" ")
    environment = {"_MLRF_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    call = [sys.executable, "-c", "import sys; from mlrf.cli import main; sys.exit(main())"]
    done = subprocess.run(call, env={**os.environ, **environment}, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_every_option_of_serve_is_offered():
    flags = {each.flag for each in OPTIONS if not each.positional}
    assert flags | {"--config", "--print-config", "--help"} <= set(offered("mlrf serve bundle --"))


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
def test_options_and_their_choices_are_offered(line, expected):
    assert offered(line) == expected

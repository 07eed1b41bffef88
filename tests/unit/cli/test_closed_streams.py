"""Commands whose standard streams the caller closed: an exit status and a sentence, never a traceback, and no file in their place."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bundles import NUMBERS, write_tree_bundle

LIMIT_S = 300
MESSAGE = b"mlrf: standard output cannot be written: it is closed; write to a file\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("closed")
    write_tree_bundle(path / "b", schema=NUMBERS, n_trees=2)
    (path / "rows.json").write_text('[{"x0": 1.0, "x1": 2.0, "x2": 3.0}]\n')
    return path


def run(folder, closed, *arguments):
    """Run a command with these descriptors closed."""
    command = [sys.executable, "-m", "mlrf", *arguments]
    shell = " ".join(f"{number}>&-" for number in closed)
    return subprocess.run(
        ["bash", "-c", f'exec "$@" {shell}', "bash", *command],
        cwd=folder,
        capture_output=True,
        timeout=LIMIT_S,
        check=False,
    )


@pytest.mark.parametrize("arguments", [["inspect", "b", "--json"], ["serve", "--help"]], ids=lambda each: each[0])
def test_a_closed_output_is_an_error_in_one_line(folder, arguments):
    done = run(folder, [1], *arguments)
    assert (done.returncode, done.stderr) == (1, MESSAGE)


def test_a_command_that_writes_nothing_needs_no_streams(folder):
    done = run(folder, [0, 1, 2], "predict", "b", "rows.json", "-o", "answers.jsonl")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert (folder / "answers.jsonl").read_bytes().count(b"\n") == 1

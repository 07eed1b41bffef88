"""The README's blocks, run in order in a fresh environment: install, train, build, inspect, predict, explain, serve."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

import documents
from documents import shell
from fresh_environment import install, variables
from once_a_run import once_a_run
from running import serving

README = (Path(__file__).parents[2] / "README.md").read_text()


def blocks(language):
    return documents.blocks(README, language)


def commands(name):
    return documents.commands(README, name)


# Installing compiles the kernel and fetches every dependency.
pytestmark = pytest.mark.timeout(1_800)


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    """The variables of a fresh environment, made by the README's first install line."""
    from_clone, from_wheel = (block.strip() for block in blocks("sh"))
    assert from_wheel == "pip install dist/mlrf-*.whl", "`make wheel-test` installs that one"
    return variables(once_a_run(tmp_path_factory, "readme-environment", lambda path: install(from_clone, path)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, environment):
    """A folder in which the README's Python and its commands, except `serve`, have run."""
    folder = tmp_path_factory.mktemp("readme")
    train, use = blocks("python")
    run = partial(subprocess.run, cwd=folder, env=environment, check=True, timeout=300)
    run(["python", "-c", train])
    offline = [line for line in commands("mlrf") if not line.startswith("mlrf serve")]
    assert len(offline) >= 6
    for line in offline:
        done = shell(line, folder, **environment)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        assert done.stdout, line
    run(["python", "-c", train + use])
    return folder


@contextlib.contextmanager
def started(line, folder, environment):
    """The server of a line of the README, by the program that its install line has brought."""
    program = shutil.which("mlrf", path=environment["PATH"])
    assert program is not None
    assert Path(program).parent != Path(sys.executable).parent, "not the environment of the tests"
    _, _, bundle = line.split()
    options = ["--state-dir", str(folder / "state")]
    with serving(folder / bundle, options=options, environment=environment, program=[program]) as server:
        yield server


@pytest.mark.slow
def test_every_curl_line_is_answered(folder, environment):
    lines = commands("curl")
    assert len(lines) >= 8
    [serve] = [line for line in commands("mlrf") if line.startswith("mlrf serve")]
    with started(serve.partition("#")[0], folder, environment) as server:
        for line in lines:
            here = line.replace("localhost:8080", f"127.0.0.1:{server.port}")
            done = shell(f"H='Content-Type: application/json'\n{here} --fail", folder)
            assert done.returncode == 0, line
            assert done.stdout, line


@pytest.mark.slow
def test_the_answer_that_is_shown_is_the_one_that_comes(folder, environment):
    shown = next(block for block in blocks("") if block.startswith('{"prediction"'))
    with started("mlrf serve sales-bundle", folder, environment) as server:
        answer = server.ask("POST", "/explain", {"features": [3.5, True, 0], "explain": 2}).json
        by_key = server.ask("POST", "/explain", {"key": {"item": 7, "day": "2026-01-31"}, "explain": 2}).json
    assert (by_key["features_as_of"], by_key["explanation"]["source"]) == ("2026-01-30T18:00:00Z", "precomputed")
    assert all(f'"{name}":' in README.partition("## Predict by key")[2].partition("## ")[0] for name in by_key)
    document = json.loads(shown.splitlines()[0])
    assert document.keys() == answer.keys() - {"explanation"}
    explained = json.loads(re.search(r'"explanation":(.*)}', shown, re.DOTALL)[1])
    assert explained.keys() == answer["explanation"].keys()
    # Another version of LightGBM may train a slightly different model.
    assert document["prediction"] == pytest.approx(answer["prediction"], rel=0.05)
    assert explained["contributions"] == pytest.approx(answer["explanation"]["contributions"], rel=0.05)


def test_every_file_that_the_readme_points_to_is_there():
    linked = re.findall(r"\]\(([^)#]+)\)", README)
    assert linked
    for target in linked:
        assert target.startswith("https://") or (Path(__file__).parents[2] / target).exists(), target

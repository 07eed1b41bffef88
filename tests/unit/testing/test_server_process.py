"""Servers for the test suites of callers: started, shared by a session, and reported when they do not start."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bundles import write_tree_bundle
from mlrf.core.errors import MlrfError
from mlrf.testing import serving
from running import eventually, is_alive

CALLER = """
def test_the_same_arguments_give_the_same_server(mlrf_server):
    first = mlrf_server({bundle!r})
    with first.client() as client:
        assert client.is_ready()
    assert mlrf_server({bundle!r}) is first
    other = mlrf_server({bundle!r}, options=("--cache", "0"))
    assert other.pid != first.pid
    assert mlrf_server({bundle!r}, options=["--cache", "0"]) is other

def test_a_client_need_not_be_closed(mlrf_server):
    assert mlrf_server({bundle!r}).client().is_ready()
"""


def test_a_server_lives_as_long_as_its_block(bundle):
    with serving(bundle) as server:
        with server.client() as client:
            assert client.is_ready()
        assert is_alive(server.pid)
    eventually(lambda: not is_alive(server.pid), what="the end of the server")


def test_a_server_that_does_not_start_is_reported_with_its_log(tmp_path):
    with (
        pytest.raises(MlrfError, match=r"ended with exit code [23]:(.|\n)*no-such-bundle"),
        serving(tmp_path / "no-such-bundle"),
    ):
        pass


def test_a_server_that_is_not_ready_in_time_is_reported(bundle):
    with pytest.raises(MlrfError, match="was not ready within 0 s"), serving(bundle, limit_s=0.0):
        pass


def test_the_fixture_shares_servers_between_tests(tmp_path):
    bundle = str(write_tree_bundle(tmp_path / "bundle"))
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["mlrf.testing.plugin"]\n')
    (tmp_path / "test_caller.py").write_text(CALLER.format(bundle=bundle))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-W",
        "error",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:schemathesis",
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout, done.stdout + done.stderr

"""`mlrf serve --print-config` ends as the start would: directories, sockets, and models that are built at the start."""

from __future__ import annotations

import socket
import subprocess
import sys

import lightgbm as lgb
import numpy as np
import pytest

from bundles import write_bundle
from mlrf.cli import main

OPTIONS = {
    "a state directory below a file": (["--state-dir", "HOME/file/state"], "--state-dir"),
    "a state directory in a file system of the kernel": (["--state-dir", "/proc/mlrf"], "--state-dir"),
    "an admin socket in a directory that is absent": (["--admin", "unix:HOME/absent/admin.sock"], "--admin"),
    "an admin socket below a file": (["--admin", "unix:HOME/file/admin.sock"], "--admin"),
    "an admin socket where a file is": (["--admin", "unix:HOME/file"], "--admin"),
}


@pytest.fixture
def home(tmp_path):
    """A bundle that is served by key, a file and a directory."""
    write_bundle(tmp_path / "keyed", name="sample", key={"id": "integer"})
    write_bundle(tmp_path / "plain", name="sample")
    (tmp_path / "file").write_text("text")
    return tmp_path


def printed(capsys, *arguments):
    status = main(["serve", *map(str, arguments), "--print-config"])
    return status, capsys.readouterr().err


@pytest.mark.parametrize("case", OPTIONS)
def test_a_path_that_the_start_refuses_is_refused(case, home, capsys):
    options, named = OPTIONS[case]
    arguments = [str(home / "keyed"), "--port", "0", *(each.replace("HOME", str(home)) for each in options)]
    started = subprocess.run(
        [sys.executable, "-m", "mlrf", "serve", *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert started.returncode in {1, 2}, started.stderr
    status, stderr = printed(capsys, *arguments)
    assert (status, named in stderr, len(stderr.splitlines())) == (2, True, 1)
    assert sorted(each.name for each in home.iterdir()) == ["file", "keyed", "plain"]


def test_a_state_directory_that_is_not_used_is_not_judged(home, capsys):
    assert printed(capsys, home / "plain", "--state-dir", home / "file/state") == (0, "")
    assert printed(capsys, home / "keyed", "--state-dir", home / "state/of/mlrf") == (0, "")
    assert not (home / "state").exists()


def test_a_socket_of_a_running_server_is_not_refused(home, capsys):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(home / "s"))
        listening.listen()
        assert printed(capsys, home / "plain", "--admin", f"unix:{home / 's'}") == (0, "")


def test_a_model_file_is_not_built_to_print(home, capsys):
    rows = np.random.default_rng(0).normal(size=(80, 2))
    data = lgb.Dataset(rows, rows[:, 1], params={"verbosity": -1})
    lgb.train({"verbosity": -1, "min_data_in_leaf": 2}, data, 1).save_model(home / "m.txt")
    build = [home / "m.txt", "--build-at-start", "--model-name", "sales", "--state-dir"]
    assert printed(capsys, *build, home / "state") == (0, "")
    assert not (home / "state").exists()
    for wrong, named in ((home / "file/state", "--state-dir"), ([home / "state", "--default", "other"], "--default")):
        status, stderr = printed(capsys, *build, *(wrong if isinstance(wrong, list) else [wrong]))
        assert (status, named in stderr) == (2, True)
    status, _ = printed(capsys, home / "absent", *build[1:], home / "state")
    assert status == 3

"""`mlrf deploy systemd`: systemd finds no fault with the units, and the server none with its settings."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from bundles import write_bundle
from mlrf.cli import main
from mlrf.serving.config.loader import read_settings

MOST_EXPOSURE = 1.5
"""Of `systemd-analyze security`, from 0 (safe) to 10; docs/how-to/deploy.md states the score."""
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")


@pytest.fixture
def units(tmp_path):
    bundle = write_bundle(tmp_path / "sales-bundle", name="sales")
    program = tmp_path / "mlrf"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    options = [
        "--name",
        "sales",
        "--bundle",
        str(bundle),
        "--exec",
        str(program),
        "--host",
        "127.0.0.2",
        "--port",
        "8123",
    ]
    assert main(["deploy", "systemd", "-o", str(tmp_path / "units"), *options]) == 0
    return tmp_path / "units"


def analyzed(*arguments, folder):
    done = subprocess.run(
        ["systemd-analyze", *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode, done.stdout + done.stderr


def faults(units):
    """What systemd says of our units; of others of this machine it may say something too."""
    status, output = analyzed("verify", "./sales.service", "./sales.socket", folder=units)
    lines = [line for line in output.splitlines() if "sales" in line or "Exec" in line or "/no/such" in line]
    return lines or [output] * (status != 0)


@needs_systemd
def test_systemd_finds_no_fault(units):
    assert faults(units) == []


@needs_systemd
@pytest.mark.parametrize(
    ("sound", "planted"),
    [
        ("KillMode=mixed", "KillMode=both"),
        ("TimeoutStopSec=25", "TimeoutStopSeconds=25"),
        ("ExecStart=", "ExecStart=/no/such/program "),
    ],
)
def test_planted_errors_are_found(sound, planted, units):
    """`systemd-analyze verify` notices an unknown field, a wrong value, and a program that is not there."""
    unit = units / "sales.service"
    text = unit.read_text()
    assert sound in text
    unit.write_text(text.replace(sound, planted))
    assert faults(units) != []


@needs_systemd
def test_the_service_is_confined(units):
    status, output = analyzed("security", "--offline=yes", "--no-pager", "./sales.service", folder=units)
    score = re.search(r"exposure level for sales.service: ([0-9.]+)", output)
    assert status == 0
    assert score is not None, output
    assert float(score[1]) <= MOST_EXPOSURE


def test_the_settings_are_taken(units, capsys):
    settings = read_settings(["--config", str(units / "sales.toml")], {})
    assert (settings.host, settings.port, settings.drain_timeout_s) == ("127.0.0.2", 8123, 10)
    assert main(["serve", "--config", str(units / "sales.toml"), "--print-config"]) == 0
    assert "sales-bundle" in capsys.readouterr().out


def test_systemd_waits_for_the_shutdown_delay_and_the_drain(units):
    settings = read_settings(["--config", str(units / "sales.toml")], {})
    (seconds,) = re.findall(r"^TimeoutStopSec=(\d+)$", (units / "sales.service").read_text(), re.MULTILINE)
    assert int(seconds) >= settings.shutdown_delay_s + settings.drain_timeout_s + 5


def test_no_name_of_the_examples_is_left(units):
    assert sorted(file.name for file in units.iterdir()) == ["sales.service", "sales.socket", "sales.toml"]
    assert all("example-" not in file.read_text() for file in units.iterdir())


def test_a_path_that_no_unit_can_hold_is_refused(tmp_path, capsys):
    arguments = ["deploy", "systemd", "-o", str(tmp_path / "out"), "--name", "sales", "--bundle", "/srv/a b"]
    assert main(arguments) == 2
    assert "--bundle: '/srv/a b'" in capsys.readouterr().err

"""`mlrf deploy systemd`: systemd finds no fault with the units, and the server none with its settings."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

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


def written(tmp_path, *options):
    """The exit status of `mlrf deploy systemd` with more options, and the folder of its units."""
    given = ["--name", "sales", "--exec", "/usr/bin/true"]
    if "--bundle" not in options:
        given += ["--bundle", "/srv/sales"]
    return main(["deploy", "systemd", "-o", str(tmp_path / "units"), *given, *options]), tmp_path / "units"


@needs_systemd
@pytest.mark.parametrize("host", ["::1", "[::1]", "::"])
def test_an_ipv6_address_is_taken_by_systemd_and_by_the_server(host, tmp_path):
    status, units = written(tmp_path, "--host", host)
    assert status == 0
    assert faults(units) == []
    address = host.strip("[]")
    assert f"ListenStream=[{address}]:8080\n" in (units / "sales.socket").read_text()
    assert read_settings(["--config", str(units / "sales.toml")], {}).host == address


@pytest.mark.parametrize("host", ["localhost", "999.1.1.1", "1.2.3.4.5", "..."])
def test_what_is_no_address_is_refused(host, tmp_path, capsys):
    assert written(tmp_path, "--host", host)[0] == 2
    assert f"--host: {host!r} is not an IP address" in capsys.readouterr().err


@pytest.mark.parametrize(
    "address", ["s3://models/sales", "https://models.example/sales@3", "oci://registry.example/sales:1"]
)
def test_a_store_is_served(address, tmp_path):
    status, units = written(tmp_path, "--bundle", address)
    assert status == 0
    assert read_settings(["--config", str(units / "sales.toml")], {}).bundles == (Path(address),)


@pytest.mark.parametrize("address", ["s3://models/sales", "models:/sales@prod", "runs:/1a2b/bundle"])
def test_units_are_written_without_the_extra_of_the_store(address, tmp_path, monkeypatch):
    """The machine on which units are written only needs `mlrf[build]`."""
    monkeypatch.setattr("mlrf.stores.address.find_spec", lambda name: None)
    status, units = written(tmp_path, "--bundle", address)
    assert status == 0
    assert f'bundles = ["{address}"]' in (units / "sales.toml").read_text()


def test_a_server_whose_store_is_down_at_boot_starts_again(tmp_path):
    """A bad bundle in a directory stays bad, so the unit stays failed; a store comes back, and with it the service."""
    _, units = written(tmp_path, "--bundle", "s3://models/sales")
    service = (units / "sales.service").read_text()
    assert "RestartPreventExitStatus=2\n" in service
    assert re.search(r"^After=network-online.target ", service, re.MULTILINE)
    assert "Wants=network-online.target\n" in service
    _, local = written(tmp_path / "local")
    assert "RestartPreventExitStatus=2 3\n" in (local / "sales.service").read_text()


def test_a_program_on_the_path_is_written_in_full(tmp_path, monkeypatch, capsys):
    program = tmp_path / "bin/mlrf"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    status, units = written(tmp_path, "--exec", "mlrf")
    assert status == 0
    assert f"ExecStart={program} serve" in (units / "sales.service").read_text()
    assert written(tmp_path / "other", "--exec", "no-such-program")[0] == 2
    assert "--exec: 'no-such-program' is not on PATH" in capsys.readouterr().err
    assert written(tmp_path / "other", "--exec", "")[0] == 2


def test_units_written_by_python_m_mlrf_start_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/mlrf/__main__.py"])
    assert main(["deploy", "systemd", "-o", str(tmp_path / "units"), "--name", "sales", "--bundle", "/srv/sales"]) == 0
    program = Path(sys.executable).with_name("mlrf")
    assert f"ExecStart={program} serve" in (tmp_path / "units/sales.service").read_text()

"""The admin listener: reachable for operators only."""

from __future__ import annotations

import os
import socket
import stat

import pytest

from mlrf.core.bundle import read_bundle
from mlrf.core.errors import ConfigError
from mlrf.serving.config.admin_address import parse_admin
from mlrf.serving.processes.admin_listener import AdminListener
from raw_http import Client
from running import eventually, run_to_its_end, serving


def test_admin_routes_are_served_on_their_own_socket_alone(bundle, tmp_path):
    path = tmp_path / "admin.sock"
    with serving(bundle, workers=2, options=["--admin", f"unix:{path}"]) as server:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with Client(path) as admin:
            models = admin.ask("GET", "/admin/models").json["models"]
            assert models == [
                {"name": "sample", "version": read_bundle(bundle).short_version, "digest": read_bundle(bundle).version}
            ]
            stray = admin.ask("POST", "/predict", {})
            assert (stray.status, stray.code) == (404, "ROUTE_NOT_FOUND")
            assert "GET /admin/models" in stray.json["error"]
        for outside in (
            "/admin/models",
            "/admin/models/",
            "//admin/models",
            "/admin/../admin/models",
            "/%61dmin/models",
        ):
            assert server.ask("GET", outside).status == 404
        server.process.terminate()
        assert server.wait() == 0
        assert server.troubles == []
    assert not path.exists()


def test_socket_of_a_killed_server_only_is_replaced(bundle, tmp_path):
    path = tmp_path / "admin.sock"
    with serving(bundle, options=["--admin", f"unix:{path}"]) as server:
        status, output, _ = run_to_its_end([bundle], "--port", "0", "--admin", f"unix:{path}")
        assert (status, "another server listens" in output) == (2, True)
        workers = server.workers()
        server.process.kill()
        eventually(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in workers), what="the end of the workers")
    assert path.exists()
    with serving(bundle, options=["--admin", f"unix:{path}"]), Client(path) as admin:
        assert admin.ask("GET", "/admin/models").status == 200


def test_non_socket_file_is_left_alone(bundle, tmp_path):
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(ConfigError, match="not a Unix socket"):
        AdminListener(parse_admin(f"unix:{path}"))
    assert path.read_text() == "data"


def test_the_file_of_another_server_is_not_removed(tmp_path):
    path = tmp_path / "admin.sock"
    first = AdminListener(parse_admin(f"unix:{path}"))
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        first.remove()
        assert path.exists()


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0:9000",
        ":9000",
        "[::]:9000",
        "10.0.0.1:9000",
        "example.org:9000",
        "127.0.0.1",
        "127.0.0.1:x",
        "127.0.0.1:70000",
        "unix:",
        "unix:" + "a" * 200,
        "",
        "/run/admin.sock",
    ],
)
def test_an_address_that_others_could_reach_is_refused(text):
    with pytest.raises(ConfigError, match="--admin"):
        parse_admin(text)


@pytest.mark.parametrize("text", ["127.0.0.1:0", "localhost:0", "[::1]:0", "unix:admin.sock", "unix:///run/admin.sock"])
def test_an_address_of_this_machine_is_taken(text):
    assert parse_admin(text).is_local


def test_a_port_of_this_machine_serves_them_too(bundle):
    with serving(bundle, options=["--admin", "127.0.0.1:0"]) as server:
        address = next(entry["address"] for entry in server.log if entry["event"] == "admin listening")
        with Client(int(address.rpartition(":")[2])) as admin:
            assert admin.ask("GET", "/admin/models").status == 200

"""A rolling update of two servers behind nginx, under load: no request fails.

As in Kubernetes at its slowest: an endpoint is removed 3 s after its server got SIGTERM, the proxy tries no other server, and every
request has a connection of its own, to the proxy and from it to a server.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time

import pytest

import behind_nginx
from load import BODY, PREDICTION
from mlrf.demo.load_generator.background_load import BackgroundLoad
from mlrf.demo.load_generator.http_connection import Response
from mlrf.demo.load_generator.load_plan import LoadPlan
from mlrf.demo.load_generator.load_report import LoadReport
from raw_http import request
from running import eventually, free_port, serving

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not behind_nginx.is_installed() and not os.environ.get("CI"), reason="nginx is not installed"),
]
RATE = 1000.0
"""Requests a second."""
REMOVED_AFTER_S = 3.0
CONFIGURATION = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream servers {{ {servers} }}
    server {{
        listen 127.0.0.1:{port} backlog=2048;
        location / {{
            proxy_pass http://servers;
            proxy_next_upstream off;
            proxy_connect_timeout 30s;
        }}
    }}
}}
"""


class Proxy:
    """nginx over a list of servers, which may be changed while it runs."""

    def __init__(self, folder) -> None:
        self.port = free_port()
        self._folder = folder
        self._process = None

    def send_to(self, *ports: int) -> None:
        """Start or go on with exactly these servers; returns when nginx's workers of the old list take no new request."""
        # Without max_fails a server is never left out: what fails is seen.
        servers = " ".join(f"server 127.0.0.1:{port} max_fails=0;" for port in ports)
        configuration = CONFIGURATION.format(folder=self._folder, servers=servers, port=self.port)
        (self._folder / "nginx.conf").write_text(configuration)
        if self._process is None:
            flags = ["-p", self._folder, "-c", self._folder / "nginx.conf", "-e", self._folder / "error.log"]
            self._process = subprocess.Popen([behind_nginx._path(), *flags])
            eventually((self._folder / "nginx.pid").exists, what="nginx")
        else:
            self._process.send_signal(signal.SIGHUP)

    def end(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)


def judge(_number: int, _elapsed_s: float, response: Response) -> str | None:
    is_right = response.status == 200 and json.loads(response.body)["prediction"] == PREDICTION
    return None if is_right else f"status {response.status}"


def rolled(bundle, folder, delay: str) -> LoadReport:
    """Replace two servers one after another; return the report of the load meanwhile."""
    proxy = Proxy(folder)
    options = ["--shutdown-delay", delay]
    with contextlib.ExitStack() as running:
        running.callback(proxy.end)
        old = [running.enter_context(serving(bundle, options=options)) for _ in range(2)]
        proxy.send_to(*(server.port for server in old))
        eventually(lambda: socket.create_connection(("127.0.0.1", proxy.port)).close() is None, what="nginx")

        one_each = request("POST", "/predict", BODY, headers=["Connection: close"])
        with BackgroundLoad(LoadPlan("127.0.0.1", proxy.port, [one_each], 0, RATE), judge) as load:
            new = [running.enter_context(serving(bundle, options=options))]
            proxy.send_to(*(server.port for server in (*old, *new)))
            for server in old:
                server.process.terminate()
                time.sleep(REMOVED_AFTER_S)
                left = old[old.index(server) + 1 :]
                proxy.send_to(*(each.port for each in (*left, *new)))
                assert server.wait() == 0

            return load.end()


def test_no_request_fails_while_servers_are_replaced(bundle, tmp_path):
    report = rolled(bundle, tmp_path, delay="5")
    assert report.errors == {}
    assert report.ok > 5 * RATE


def test_requests_fail_without_a_shutdown_delay(bundle, tmp_path):
    """The bar above notices a server that stops accepting before its endpoint is removed."""
    report = rolled(bundle, tmp_path, delay="0")
    assert report.ok
    assert report.errors

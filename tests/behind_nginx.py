"""nginx in front of a running server, as an operator would configure it: keep-alive upstream, default buffering."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from running import eventually, free_port

_CONFIGURATION = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    log_format upstream '$upstream_status $status';
    access_log {folder}/access.log upstream;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 64m;
    client_header_timeout 2s;
    client_body_timeout 2s;
    upstream server {{ server 127.0.0.1:{upstream}; keepalive 4; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://server;
            proxy_http_version 1.1;
            proxy_request_buffering off;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
        }}
    }}
}}
"""


def is_installed() -> bool:
    """Whether this machine has nginx."""
    return _path() is not None


def _path() -> str | None:
    return shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")


class Nginx:
    """A running nginx: its port, and how many requests it has forwarded."""

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        self._log = folder / "access.log"

    def n_sent_on(self) -> int:
        """How many requests the upstream server must have received: each attempt is one."""
        tried = [line.split(" ")[0:-1] for line in self._log.read_text().splitlines()]
        return sum(sum(status != "-" for status in statuses) for statuses in tried)


@contextlib.contextmanager
def nginx(folder: Path, upstream: int) -> Iterator[Nginx]:
    """Run nginx in front of a port of this machine."""
    port = free_port()
    (folder / "nginx.conf").write_text(_CONFIGURATION.format(folder=folder, upstream=upstream, port=port))
    path = _path()
    assert path is not None
    process = subprocess.Popen(
        [path, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    )

    def listens() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return True
        return False

    try:
        eventually(listens, what="nginx")
        yield Nginx(folder, port)
    finally:
        process.terminate()
        process.wait()

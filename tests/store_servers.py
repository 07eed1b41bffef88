"""Stores for tests, on this machine: an S3 server (moto), and a web server of files whose faults a test switches on."""

from __future__ import annotations

import contextlib
import http.server
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import botocore.session
from botocore.config import Config

from running import eventually

BUCKET = "models"
SECRET = "s3cr3t-th4t-n0-l0g-sh0ws"  # noqa: S105  the tests look for it
S3_VARIABLES = {
    "AWS_ACCESS_KEY_ID": "AKIATESTTESTTESTTEST",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@contextlib.contextmanager
def s3_server(folder: Path) -> Iterator[str]:
    """An empty bucket in an S3 server of its own process; yields the URL of the server."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (folder / "moto.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=log,
            stderr=log,
            env={**os.environ, **S3_VARIABLES},
        )
    url = f"http://127.0.0.1:{port}"
    try:
        eventually(lambda: _accepts(port), what="the S3 server")
        s3_client(url).create_bucket(Bucket=BUCKET)
        yield url
    finally:
        server.kill()
        server.wait(30)


def s3_client(url: str):
    """A client with the credentials of the tests."""
    session = botocore.session.Session()
    session.set_credentials(S3_VARIABLES["AWS_ACCESS_KEY_ID"], SECRET)
    return session.create_client(
        "s3", region_name="us-east-1", endpoint_url=url, config=Config(retries={"total_max_attempts": 3})
    )


def upload(client, folder: Path, prefix: str) -> None:
    """Write the files below a folder as objects."""
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            key = f"{prefix}/{file.relative_to(folder)}".lstrip("/")
            client.put_object(Bucket=BUCKET, Key=key, Body=file.read_bytes())


def _accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


class FileServer:
    """A web server of a folder's files; `fault` is what goes wrong: stopped, slow, corrupt, half-written, refused, or nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fault = ""
        self.requests = 0
        owner = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *arguments):
                super().__init__(*arguments, directory=str(folder))

            def do_GET(self):
                owner.requests += 1
                owner.answer(self, super().do_GET)

            def log_message(self, *_arguments):
                pass

        self._handler = Handler
        self._server: http.server.ThreadingHTTPServer | None = None
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen, on the port of the last time."""
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), self._handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Close the listener."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def answer(self, handler, right) -> None:
        """Answer one request as the fault says."""
        path = self.folder / handler.path.lstrip("/")
        if self.fault == "slow":
            ends = time.monotonic() + 60
            while self.fault == "slow" and time.monotonic() < ends:
                time.sleep(0.02)
            handler.close_connection = True
        elif self.fault == "refused":
            handler.send_error(503)
        elif self.fault in ("corrupt", "half-written") and path.is_file():
            content = path.read_bytes()
            sent = bytes(each ^ 1 for each in content) if self.fault == "corrupt" else content[: len(content) // 2]
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(content)))
            handler.end_headers()
            handler.wfile.write(sent)
            handler.close_connection = True
        else:
            right()


@contextlib.contextmanager
def file_server(folder: Path) -> Iterator[FileServer]:
    """A web server of a folder, stopped afterwards."""
    server = FileServer(folder)
    try:
        yield server
    finally:
        server.fault = ""
        server.stop()

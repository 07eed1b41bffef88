"""Stores for tests, on this machine: S3 (moto), a web server of files, a registry of images, MLflow; each may stand behind a `FaultyProxy`."""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import botocore.session
from botocore.config import Config

from client_environment import MLFLOW
from faulty_proxy import FaultyProxy
from running import START_LIMIT_S, eventually, free_port

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
    port = free_port()
    command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with server_process(command, port, folder / "moto.log", env={**os.environ, **S3_VARIABLES}):
        url = f"http://127.0.0.1:{port}"
        s3_client(url).create_bucket(Bucket=BUCKET)
        yield url


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


@contextlib.contextmanager
def server_process(command: list[str], port: int, log: Path, **rest: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A server that listens on a port, killed afterwards with all its processes."""
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True, **rest)
    try:
        eventually(lambda: _accepts(port), START_LIMIT_S, what=command[0])
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@contextlib.contextmanager
def file_server(folder: Path) -> Iterator[FaultyProxy]:
    """A web server of a folder's files, behind a proxy whose faults a test switches on."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_arguments):
            pass

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            with behind_a_proxy(f"http://127.0.0.1:{server.server_port}") as proxy:
                yield proxy
        finally:
            server.shutdown()


@contextlib.contextmanager
def behind_a_proxy(upstream: str) -> Iterator[FaultyProxy]:
    """A `FaultyProxy` before a server, closed afterwards."""
    proxy = FaultyProxy(upstream)
    try:
        yield proxy
    finally:
        proxy.fault = ""
        proxy.close()


def registry_program() -> str | None:
    """Debian's registry of container images, or None where it is not installed; in CI it must be."""
    return shutil.which("docker-registry") or ("docker-registry" if "CI" in os.environ else None)


@contextlib.contextmanager
def registry_server(folder: Path, settings: str = "") -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """An empty registry of container images, with further settings; yields `HOST:PORT` and its process."""
    program, port = registry_program(), free_port()
    assert program is not None
    (folder / "config.yml").write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {folder}/blobs}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n{settings}"
    )
    with server_process([program, "serve", str(folder / "config.yml")], port, folder / "registry.log") as server:
        yield f"127.0.0.1:{port}", server


def push(host: str, bundle: Path, name: str) -> None:
    """Push a bundle as an artefact, as another program would."""
    import oras.provider  # noqa: PLC0415  few tests need it

    files = [f"./{file.name}:application/octet-stream" for file in sorted(bundle.iterdir())]
    client = oras.provider.Registry(insecure=True)
    with contextlib.chdir(bundle):
        answer = client.push(f"{host}/{name}", files=files, quiet=True)
    assert answer.status_code == 201


@contextlib.contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """A tracking server of MLflow that passes artefacts on; yields its URL."""
    port = free_port()
    command = [str(MLFLOW), "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination",
        str(folder / "files"),
    ]
    with server_process(command, port, folder / "mlflow.log", cwd=folder):
        yield f"http://127.0.0.1:{port}"


_REGISTER = """
import sys
import mlflow

client = mlflow.MlflowClient()
client.create_registered_model(sys.argv[1])
for bundle in sys.argv[2:]:
    with mlflow.start_run() as run:
        mlflow.log_artifacts(bundle, "bundle")
    client.create_model_version(sys.argv[1], f"{run.info.artifact_uri}/bundle", run.info.run_id)
    print(run.info.run_id)
"""


def register(url: str, name: str, bundles: Sequence[Path]) -> list[str]:
    """Make bundles the versions 1, 2, … of a new registered model; the ids of their runs."""
    command = [str(MLFLOW), "-W", "ignore", "-c", _REGISTER, name, *map(str, bundles)]
    done = subprocess.run(
        command,
        env={**os.environ, "MLFLOW_TRACKING_URI": url},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.split()[-len(bundles) :]

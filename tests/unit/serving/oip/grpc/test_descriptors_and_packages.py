"""Parts of gRPC: descriptors that match the .proto files, and packages that may be missing."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys

import pytest

from bundles import write_tree_bundle
from client_environment import PYTHON, needs_clients
from mlrf.serving.oip.grpc.message_types import DESCRIPTORS
from mlrf.serving.telemetry.library_logs import forward_records
from mlrf.serving.telemetry.logs import Log

WITHOUT = """
import sys
missing = sys.argv.pop(1)

class Hidden:
    def find_spec(name, path=None, target=None):
        if name == missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden)
from mlrf.cli import main
sys.exit(main())
"""


@needs_clients
def test_descriptors_are_those_of_the_proto_files(tmp_path):
    protos = sorted(each.name for each in DESCRIPTORS.parent.glob("*.proto"))
    assert protos
    made = tmp_path / "made.binpb"
    command = [PYTHON, "-m", "grpc_tools.protoc", "-I", ".", f"--descriptor_set_out={made}", *protos]
    subprocess.run(command, cwd=DESCRIPTORS.parent, check=True, timeout=300)
    assert made.read_bytes() == DESCRIPTORS.read_bytes(), "make proto"


@pytest.mark.parametrize("missing", ["grpc", "google.protobuf"])
def test_missing_package_is_reported_before_the_start(missing, tmp_path):
    bundle = write_tree_bundle(tmp_path / "bundle")
    command = [sys.executable, "-c", WITHOUT, missing, "serve", bundle, "--port", "0", "--grpc-port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2
    assert f"--grpc-port: {missing} cannot be imported" in done.stderr
    assert 'pip install "mlrf[grpc]"' in done.stderr
    assert "listening" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("fault", "logged"), [(asyncio.CancelledError(), []), (ValueError("7 bytes"), ["called: 7 bytes"])]
)
def test_grpcio_is_logged_but_for_cancelled_calls(fault, logged):
    reading, writing = os.pipe()
    logger = logging.getLogger("grpc")
    before = logger.handlers, logger.propagate
    try:
        forward_records("grpc", Log(descriptor=writing), "gRPC library warning")
        try:
            raise fault
        except (asyncio.CancelledError, ValueError):
            logging.getLogger("grpc._cython.cygrpc").exception("called")
    finally:
        logger.handlers, logger.propagate = before
        os.close(writing)
    with os.fdopen(reading) as lines:
        records = [json.loads(line) for line in lines]
    assert [f"{each['reason']}: {each['fault']}" for each in records] == logged

"""Parts of gRPC: descriptors that match the .proto files, and packages that may be missing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bundles import write_tree_bundle
from client_environment import PYTHON, needs_clients
from mlrf.serving.oip.grpc.message_types import DESCRIPTORS

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


@pytest.mark.parametrize("missing", ["hpack", "google.protobuf"])
def test_missing_package_is_reported_before_the_start(missing, tmp_path):
    bundle = write_tree_bundle(tmp_path / "bundle")
    command = [sys.executable, "-c", WITHOUT, missing, "serve", bundle, "--port", "0", "--grpc-port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2
    assert f"--grpc-port: {missing} cannot be imported" in done.stderr
    assert 'pip install "mlrf[grpc]"' in done.stderr
    assert "listening" not in done.stdout + done.stderr

"""Signatures by `mlrf sign` are verified by OpenSSF's model_signing, and its signatures by mlrf."""

from __future__ import annotations

import subprocess

import pytest

from bundles import NUMBERS, write_tree_bundle
from client_environment import MODEL_SIGNING, needs_model_signing
from mlrf.core.bundle import read_bundle
from mlrf.signing.bundle_signature import verify_bundle
from mlrf.signing.key_pairs import read_public_keys
from signed_bundles import make_pair, signed


@pytest.fixture
def home(tmp_path):
    write_tree_bundle(tmp_path / "bundle", schema=NUMBERS)
    make_pair(tmp_path)
    return tmp_path


def model_signing(home, command, *options):
    arguments = [command, "key", home / "bundle", "--signature", home / "bundle/model.sig", *options]
    return subprocess.run(
        [MODEL_SIGNING, "-m", "model_signing", *map(str, arguments)], capture_output=True, text=True, check=False
    )


@needs_model_signing
def test_model_signing_verifies_a_signature_of_mlrf(home):
    signed(home / "bundle", home / "release.key", built_by="run 12", sources=[home / "release.key.pub"])
    done = model_signing(home, "verify", "--public_key", home / "release.key.pub")
    assert done.returncode == 0, done.stdout + done.stderr
    with (home / "bundle/golden.bin").open("ab") as file:
        file.write(b"\0")
    assert model_signing(home, "verify", "--public_key", home / "release.key.pub").returncode != 0


@needs_model_signing
def test_mlrf_verifies_a_signature_of_model_signing(home):
    done = model_signing(home, "sign", "--private_key", home / "release.key")
    assert done.returncode == 0, done.stdout + done.stderr
    keys = read_public_keys([home / "release.key.pub"])
    assert verify_bundle(read_bundle(home / "bundle"), keys).key.id == keys[0].id

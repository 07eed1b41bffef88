"""Starts: addresses and ports, bundles and arguments that are refused, and what is imported."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
from pathlib import Path

import msgspec
import pytest

from bundles import ALL_KINDS, entry_of, stumps, write_bundle
from load import BODY, PREDICTION
from mlrf.core.manifest import LinkEntry
from raw_http import request
from running import Server, command, run_to_its_end, serving

pytestmark = pytest.mark.timing  # bars of a second or less


def events(server, name):
    return [entry for entry in server.log if entry["event"] == name]


def test_second_server_on_the_port_exits_with_2(bundle):
    with serving(bundle) as server:
        status, output, took_s = run_to_its_end([bundle], "--port", str(server.port))
        assert status == 2
        assert f"127.0.0.1:{server.port} is in use" in output
        assert "Traceback" not in output
        assert took_s < 5
        status, output, _ = run_to_its_end([bundle], "--port", str(server.port), "--host", "0.0.0.0")
        assert (status, "is in use" in output) == (2, True)
        for _ in range(20):
            assert server.ask("POST", "/predict", BODY).json["prediction"] == PREDICTION


def test_a_port_may_be_used_again_as_soon_as_its_server_ended(bundle):
    with serving(bundle) as server:
        port = server.port
        with server.client() as client:
            assert client.ask("GET", "/healthz").status == 200
            server.process.terminate()
            assert server.wait() == 0
    with serving(bundle, options=["--port", str(port)]) as server:
        assert server.port == port


def test_a_file_that_is_no_model_exits_with_3(tmp_path):
    bad = write_bundle(tmp_path / "bad", model=b"this is not an ONNX model")
    status, output, _ = run_to_its_end([bad], "--port", "0")
    assert status == 3, output
    assert "model.onnx" in output
    assert "Traceback" not in output, output


def test_model_shape_unlike_the_manifest_exits_with_3(onnx_bundle):
    (onnx_bundle / "model.onnx").write_bytes(stumps(3, 1))
    manifest = json.loads((onnx_bundle / "manifest.json").read_bytes())
    manifest["files"]["model.onnx"] = msgspec.to_builtins(entry_of(onnx_bundle / "model.onnx"))
    (onnx_bundle / "manifest.json").write_text(json.dumps(manifest))
    status, output, _ = run_to_its_end([onnx_bundle], "--port", "0")
    assert status == 3, output
    assert "3 features" in output


@pytest.mark.parametrize("file", ["model.onnx", "schema.json", "manifest.json"])
def test_a_flipped_bit_ends_with_3_and_the_files_name(bundle, file):
    content = bytearray((bundle / file).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / file).write_bytes(content)
    status, output, _ = run_to_its_end([bundle], "--port", "0")
    assert status == 3, output
    assert file in output or file == "manifest.json"
    assert "Traceback" not in output


def test_wrong_arguments_end_with_2_and_a_sentence(bundle, tmp_path):
    twin = write_bundle(tmp_path / "twin", name="twin")
    for bundles, options, word in [
        ([], [], "BUNDLE"),
        ([bundle], ["--workers", "0"], "--workers"),
        ([bundle], ["--default", "nobody"], "--default"),
        ([bundle, bundle], [], "sample"),
        ([bundle, twin], ["--host", "192.0.2.1"], "192.0.2.1"),
    ]:
        status, output, _ = run_to_its_end(bundles, *options)
        assert (status, word in output) == (2, True), output
        assert "Traceback" not in output


def test_a_missing_bundle_ends_with_3_and_says_how_to_make_one(tmp_path):
    status, output, _ = run_to_its_end([tmp_path / "nowhere"])
    assert status == 3
    assert "mlrf build" in output


@pytest.mark.parametrize("host", ["localhost", "0.0.0.0", "::1"])
def test_other_addresses_are_listened_on(bundle, host):
    if host == "::1" and not _has_ipv6():
        pytest.skip("this machine has no IPv6")
    with serving_at(host, bundle) as server:
        assert (f"[{host}]" if ":" in host else host.replace("localhost", "127.0.0.1")) in next(
            entry["url"] for entry in server.log if entry["event"] == "listening"
        )


@contextlib.contextmanager
def serving_at(host, bundle):
    """A server on another address than the client's, identified by its log only."""
    with subprocess.Popen(
        command([bundle], "--port", "0", "--host", host, "--workers", "1"), stderr=subprocess.PIPE
    ) as process:
        server = Server(process)
        try:
            server.find_address()
            with socket.create_connection((host, server.port), timeout=5) as client:
                client.sendall(request("GET", "/healthz", headers=["Connection: close"]))
                assert client.recv(100).startswith(b"HTTP/1.1 200")
            yield server
        finally:
            process.terminate()
            server.wait()


def _has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


def test_arbiter_and_server_import_no_heavy_libraries(onnx_bundle):
    with serving(onnx_bundle) as server:
        (worker,) = server.workers()
        arbiter_maps = Path(f"/proc/{server.process.pid}/maps").read_text()
        worker_maps = Path(f"/proc/{worker}/maps").read_text()
        for library in ("numpy", "onnxruntime", "pyarrow", "pandas", "lmdb"):
            assert f"/{library}/" not in arbiter_maps
        assert "/onnxruntime/" in worker_maps
        for library in ("pyarrow", "pandas", "lightgbm", "/onnx/"):
            assert library not in worker_maps
        assert len(list(Path(f"/proc/{server.process.pid}/task").iterdir())) == 1, "a fork with threads is unsafe"


def test_read_only_bundle_behind_a_symlink_is_served(tmp_path):
    real = write_bundle(tmp_path / "real", link=LinkEntry("exp"))
    (tmp_path / "current").symlink_to(real)
    for file in real.iterdir():
        file.chmod(0o444)
    real.chmod(0o555)
    try:
        with serving(tmp_path / "current") as server:
            assert server.ask("POST", "/predict", {"features": ALL_KINDS.example()}).status == 200
            assert entry_of(real / "model.onnx").size_bytes > 0
    finally:
        real.chmod(0o755)

"""Golden rows replayed by a server: answers that differ from the file are found."""

from __future__ import annotations

import json
import math
import struct

import numpy as np
import pytest

from bundles import entry_of, write_bundle, write_manifest, write_tree_bundle
from mlrf.core.bundle import read_bundle
from mlrf.core.errors import BundleError
from mlrf.core.golden_bin import MAX_BYTES, MAX_ROWS, encode_golden_rows, n_kept, read_golden_rows
from mlrf.engines.selection import open_engine
from mlrf.model.replay import replay
from mlrf.model.row_predictor import RowPredictor

_FEATURES, _ROWS = 7, 40


def rewritten(path, content):
    (path / "golden.bin").write_bytes(content)
    document = json.loads((path / "manifest.json").read_text())
    entry = entry_of(path / "golden.bin")
    document["files"]["golden.bin"] = {"sha256": entry.sha256, "size_bytes": entry.size_bytes}
    write_manifest(path, document)
    return path


def replayed(path, engine=None):
    bundle = read_bundle(path)
    return replay(RowPredictor(bundle, open_engine(bundle, engine)))


@pytest.mark.parametrize("engine", ["trees", "onnxruntime"])
def test_rows_answered_as_trained_pass(tmp_path, engine):
    assert replayed(write_tree_bundle(tmp_path / "b"), engine) == _ROWS


def test_several_outputs_pass(tmp_path):
    assert replayed(write_tree_bundle(tmp_path / "b", n_outputs=3)) == _ROWS


def test_a_margin_that_is_off_is_refused(tmp_path):
    path = write_tree_bundle(tmp_path / "b")
    content = bytearray((path / "golden.bin").read_bytes())
    at = len(content) - 8 * 5
    (margin,) = struct.unpack_from("<d", content, at)
    struct.pack_into("<d", content, at, margin + 1e-4 * max(1.0, abs(margin)))
    with pytest.raises(BundleError, match=f"predicts .* for golden row {_ROWS - 5}"):
        replayed(rewritten(path, bytes(content)))


def test_nan_margin_is_refused(tmp_path):
    path = write_tree_bundle(tmp_path / "b")
    content = (path / "golden.bin").read_bytes()
    with pytest.raises(BundleError, match="golden row 39"):
        replayed(rewritten(path, content[:-8] + struct.pack("<d", math.nan)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a file of golden rows"),
        (b"x" * 100, "not a file of golden rows"),
        (b"MLRFGOLD", "cut short"),
        (struct.pack("<8s4I", b"MLRFGOLD", 1, 1, _FEATURES, 1) + bytes(64), "no golden rows"),
        (struct.pack("<8s4I", b"MLRFGOLD", 2, 0, _FEATURES, 1), "do not match"),
        (struct.pack("<8s4I", b"MLRFGOLD", 2, 1, 3, 1) + bytes(36), "do not match"),
        (struct.pack("<8s4I", b"MLRFGOLD", 2, 1 << 31, _FEATURES, 1) + bytes(64), "do not match"),
        (struct.pack("<8s4I", b"MLRFGOLD", 2, 1, _FEATURES, 1) + bytes(11), "do not match"),
        (struct.pack("<8s5I", b"MLRFGOLD", 2, 1, _FEATURES, 1, 2**32 - 1) + bytes(64), "do not match"),
        (struct.pack("<8s6I", b"MLRFGOLD", 2, 1, _FEATURES, 1, 1, _FEATURES) + bytes(16), "do not match"),
    ],
)
def test_invalid_golden_file_is_refused(tmp_path, content, message):
    with pytest.raises(BundleError, match=message):
        replayed(rewritten(write_bundle(tmp_path / "b"), content))


@pytest.mark.parametrize("width", [1, 2, 40])
def test_rows_are_read_as_they_were_written_to_the_bit(tmp_path, width):
    rng = np.random.default_rng(width)
    rows = np.repeat(rng.normal(size=(3, width)), 7, axis=0)
    rows[rng.random(rows.shape) < 0.2] = np.nan
    rows[0, 0], rows[1, 0] = 0.0, -0.0
    (tmp_path / "golden.bin").write_bytes(encode_golden_rows(rows.tobytes(), np.ones(21).tobytes(), 21))
    found = read_golden_rows(tmp_path / "golden.bin", width, 1)
    assert found.rows.tobytes() == rows.tobytes()
    assert found.margins.tolist() == [1.0] * 21


def test_the_rows_kept_are_bounded():
    assert n_kept(10, 5) == 10
    assert n_kept(10**6, 5) == MAX_ROWS
    assert 1 <= n_kept(10**6, 100_000) * 100_000 * 8 <= MAX_BYTES
    assert n_kept(5, 10**9) == 1

"""Temporary folders of a build: those of other work in this process stay, those of processes that died are removed."""

from __future__ import annotations

import os

from mlrf.builder.temporary_folder import temporary_folder


def test_a_folder_within_a_folder_of_the_same_purpose_leaves_both(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left = tmp_path / f"mlrf-pipeline-{os.getpid()}-of-an-earlier-process-with-this-id"
    left.mkdir()
    with temporary_folder("pipeline") as outer:
        with temporary_folder("pipeline") as inner:
            assert outer.exists()
            assert inner.exists()
        assert outer.exists()
        assert not inner.exists()
    assert not list(tmp_path.iterdir())

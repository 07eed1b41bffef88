"""Errors of the process that seeds a store reach its parent unchanged."""

from __future__ import annotations

from mlrf.core.errors import BundleError
from mlrf.features import seed_store


def test_multi_line_message_is_shown_on_one_line(capsys, monkeypatch):
    def refuse(_path, **_):
        raise BundleError("features.parquet: the file\nis damaged\n\n  at byte 4")

    monkeypatch.setattr(seed_store, "read_bundle", refuse)
    monkeypatch.setattr(seed_store, "die_with_parent", lambda _parent: None)
    assert seed_store.main(["b", "state", "1", "0", "0", "1"]) != 0
    assert capsys.readouterr().err == "features.parquet: the file is damaged at byte 4\n"

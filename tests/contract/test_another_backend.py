"""A backend of the feature store is one class and one line of `SHARED_STORES`: loaded, served and counted through both."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bundles import ALL_KINDS, write_tree_bundle
from folder_store import FolderStore
from mlrf.cli import main
from mlrf.core.errors import ConfigError
from mlrf.features import open_stores
from mlrf.features.shared_store import SharedStore
from mlrf.serving.cache.settings import CacheSettings
from mlrf.serving.config.settings import ServeSettings
from running import serving

REGISTERED = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from folder_store import FolderStore
from mlrf.features.open_stores import SHARED_STORES, SharedKind; SHARED_STORES["folder"] = SharedKind(lambda: FolderStore, "folder:///PATH")
"""


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setitem(
        open_stores.SHARED_STORES, "folder", open_stores.SharedKind(lambda: FolderStore, "folder:///PATH")
    )


def test_rows_are_loaded_and_served_through_it(registered, tmp_path, capsys):
    store, example = f"folder://{tmp_path}/rows", ALL_KINDS.example()
    bundle = write_tree_bundle(tmp_path / "b", key={"id": "integer"})
    pq.write_table(
        pa.table({"id": [7]} | {name: [value] for name, value in example.items()}), tmp_path / "rows.parquet"
    )
    assert main(["features", "load", str(bundle), str(tmp_path / "rows.parquet"), "--features", store]) == 0
    assert main(["features", "stats", str(bundle), "--features", store]) == 0
    assert '"rows": 1' in capsys.readouterr().out
    with serving(bundle, options=["--features", store], broken_by=REGISTERED) as server:
        by_key = server.ask("POST", "/predict", json.dumps({"key": {"id": 7}}).encode())
        by_value = server.ask("POST", "/predict", json.dumps({"features": example}).encode())
        missed = server.ask("POST", "/predict", json.dumps({"key": {"id": 8}}).encode())
    assert (by_key.status, missed.status) == (200, 404)
    assert json.loads(by_key.body)["prediction"] == json.loads(by_value.body)["prediction"]
    assert (tmp_path / "rows/connected").exists()
    assert isinstance(FolderStore(tmp_path / "rows", None), SharedStore)


def test_its_addresses_are_checked_and_are_not_those_of_the_shared_cache(registered):
    assert open_stores.wrong_in_address("folder:///rows") is None
    assert open_stores.wrong_in_address("folder://rows") == "the address is not folder:///PATH"
    assert "folder://" in open_stores.wrong_in_address("toy://rows")
    assert ServeSettings(bundles=(Path("b"),), features="folder:///rows").features == "folder:///rows"
    with pytest.raises(ConfigError, match="--shared-cache: the address of a shared store begins with redis://"):
        ServeSettings(bundles=(Path("b"),), caching=CacheSettings(shared_cache="folder:///rows"))


def test_a_package_that_it_lacks_is_named(registered, monkeypatch):
    monkeypatch.setattr(FolderStore, "package", "not_installed")
    with pytest.raises(ConfigError, match=r"--features: needs `pip install 'mlrf\[folder\]'`"):
        ServeSettings(bundles=(Path("b"),), features="folder:///rows")

"""What a store holds that no bundle has: files over their limit, and a version with another digest than its pointer says."""

from __future__ import annotations

import io

import pytest

from bundles import NUMBERS, write_tree_bundle
from mlrf.core.bundle import read_bundle
from mlrf.core.errors import BundleError, RepositoryError
from mlrf.core.manifest import MANIFEST
from mlrf.stores.address import parse_address
from mlrf.stores.bundle_cache import BundleCache
from mlrf.stores.oci import OciStore
from mlrf.stores.open_store import open_reader
from mlrf.stores.s3 import S3Store
from store_servers import (
    BUCKET,
    S3_VARIABLES,
    file_server,
    push,
    registry_program,
    registry_server,
    s3_client,
    s3_server,
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_tree_bundle(tmp_path_factory.mktemp("bundles") / "b", schema=NUMBERS)


def test_a_bundle_with_another_digest_is_not_cached(bundle, tmp_path):
    version = read_bundle(bundle).version
    with file_server(bundle.parent) as server:
        reader = open_reader(parse_address(server.url), 60.0)
        cache = BundleCache(tmp_path)
        with pytest.raises(BundleError, match=f"its digest is {version[:12]}, not 000000000000 as published"):
            cache.fetch(reader, "b", "0" * 64)
        assert not list(tmp_path.rglob(MANIFEST))
        assert cache.fetch(reader, "b", version).digest == version


def test_a_store_without_credentials_says_what_to_set(monkeypatch, tmp_path):
    for name in S3_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "absent"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(
        RepositoryError, match="s3://bucket/models/x: Unable to locate credentials; set AWS_ACCESS_KEY_ID"
    ):
        S3Store(parse_address("s3://bucket/models"), 5.0).read("x", 1)


@pytest.mark.skipif(registry_program() is None, reason="docker-registry is not installed")
def test_a_layer_over_the_limit_is_not_fetched(bundle, tmp_path):
    with registry_server(tmp_path) as (host, _):
        push(host, bundle, "team/sample:prod")
        store = OciStore(parse_address(f"oci://{host}/team/sample:prod"), 60.0)
        size = (bundle / MANIFEST).stat().st_size
        assert len(store.read(MANIFEST, size).body) == size
        with pytest.raises(RepositoryError, match=f"has more than {size - 1} bytes"):
            store.read(MANIFEST, size - 1)


@pytest.mark.slow
def test_an_object_over_the_limit_or_absent_is_an_error(tmp_path, monkeypatch):
    for name, value in S3_VARIABLES.items():
        monkeypatch.setenv(name, value)
    with s3_server(tmp_path) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        s3_client(url).put_object(Bucket=BUCKET, Key="x/file", Body=b"12345")
        store = S3Store(parse_address(f"s3://{BUCKET}/x"), 60.0)
        assert store.read("file", 5).body == b"12345"
        with pytest.raises(RepositoryError, match="has more than 4 bytes"):
            store.read("file", 4)
        with pytest.raises(FileNotFoundError):
            store.read("absent", 5)
        # Of this machine, so the object is not absent.
        with pytest.raises(RepositoryError, match="FileNotFoundError: no such disk"):
            store.download("file", _GoneDisk(), 5)


class _GoneDisk(io.BytesIO):
    def write(self, _: object) -> int:
        raise FileNotFoundError("no such disk")

"""Addresses of stores: what they name, and what is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlrf.core.errors import ConfigError
from mlrf.stores.address import is_address, parse_address, path_text, split_paths


def test_an_address_keeps_its_slashes_in_a_path():
    address = parse_address(Path("s3://bucket/models/sales"))
    assert (address.text, address.scheme, address.host) == ("s3://bucket/models/sales", "s3", "bucket")
    assert parse_address("https://host.example:8443/a/b/").path == "a/b"
    assert path_text(Path("s3://bucket/models")) == "s3://bucket/models"
    assert Path(path_text(Path("models"))).is_absolute()


def test_a_version_is_a_folder():
    assert parse_address("s3://bucket/models/sales@3").path == "models/sales/3"
    assert parse_address("s3://bucket/models/sales@latest").path == "models/sales@latest"


def test_addresses_differ_from_paths():
    assert is_address("s3://bucket/x")
    assert not is_address("models/sales")
    assert split_paths("a:b") == ["a", "b"]
    assert split_paths("s3://bucket/x https://host:8443/y models") == ["s3://bucket/x", "https://host:8443/y", "models"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("gs://bucket/models", "Google Cloud Storage"),
        ("abfs://container/models", "Azure"),
        ("ftp://host/models", "ftp addresses are not supported"),
        ("https://", "is not an address"),
        ("s3:///models", "has no bucket"),
        ("https:///models", "has no host"),
        ("https://host/models?X-Amz-Signature=abc", "without a query"),
        ("https://user:password@host/models", "credentials do not belong in an address"),
        ("s3://bucket/../other", "`..`"),
        ("http://models.example/models", "use https"),
        ("http://10.0.0.1/models", "use https"),
    ],
)
def test_what_is_no_address_is_refused(text, sentence):
    with pytest.raises(ConfigError) as refused:
        parse_address(text)
    assert sentence in str(refused.value)
    assert "password" not in str(refused.value)


def test_a_refused_address_is_shown_as_it_was_given():
    for text in ("http://models.example/x", "https://host/x?y=1", "ftp://host/x"):
        with pytest.raises(ConfigError, match=f"^{text.split('?', maxsplit=1)[0]}"):
            parse_address(Path(text))

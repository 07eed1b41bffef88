"""The account of Azure that an address belongs to: from the address, or from the variables that Azure's tools read."""

from __future__ import annotations

import pytest

from mlrf.core.errors import ConfigError
from mlrf.scoring.azure_account import AzureAccount, azure_account
from mlrf.scoring.remote_files import address_of, file_system, object_path

KEY = "c2VjcmV0LWtleS10aGF0LW5vLWxvZy1zaG93cw=="
CONNECTION = f"DefaultEndpointsProtocol=https;AccountName=sales;AccountKey={KEY};EndpointSuffix=core.windows.net"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """A function that sets variables of Azure; there are none at first."""
    for name in ("CONNECTION_STRING", "ACCOUNT_NAME", "ACCOUNT", "ACCOUNT_KEY", "KEY", "SAS_TOKEN"):
        monkeypatch.delenv(f"AZURE_STORAGE_{name}", raising=False)
    return lambda **variables: [monkeypatch.setenv(f"AZURE_STORAGE_{each}", variables[each]) for each in variables]


@pytest.mark.parametrize(
    ("variables", "account"),
    [
        ({"CONNECTION_STRING": CONNECTION}, AzureAccount("sales", KEY, None)),
        ({"ACCOUNT_NAME": "sales", "ACCOUNT_KEY": KEY}, AzureAccount("sales", KEY, None)),
        ({"ACCOUNT": "sales", "KEY": KEY}, AzureAccount("sales", KEY, None)),
        ({"ACCOUNT_NAME": "sales", "SAS_TOKEN": "?sv=1&sig=2"}, AzureAccount("sales", None, "sv=1&sig=2")),
        ({"ACCOUNT_NAME": "sales"}, AzureAccount("sales", None, None)),
        (
            {"CONNECTION_STRING": "BlobEndpoint=https://sales.blob.core.windows.net/;SharedAccessSignature=sv=1&sig=2"},
            AzureAccount("sales", None, "sv=1&sig=2"),
        ),
        (
            {"CONNECTION_STRING": f"AccountName=a;AccountKey={KEY};BlobEndpoint=http://127.0.0.1:1/a"},
            AzureAccount("a", KEY, None, "http", "127.0.0.1:1"),
        ),
    ],
)
def test_an_address_without_a_host_is_of_the_account_of_the_environment(environment, variables, account):
    environment(**variables)
    assert azure_account("abfs://rows/x", "") == account


def test_the_emulator_has_its_own_connection_string(environment):
    environment(CONNECTION_STRING="UseDevelopmentStorage=true")
    account = azure_account("abfs://rows/x", "")
    assert (account.name, account.scheme, account.authority) == ("devstoreaccount1", "http", "127.0.0.1:10000")


def test_the_account_of_an_address_counts_and_gets_no_foreign_key(environment):
    environment(CONNECTION_STRING=CONNECTION)
    host = "sales.dfs.core.windows.net"
    assert azure_account("abfs://rows@…", host) == AzureAccount("sales", KEY, None)
    assert azure_account("abfs://rows@…", host.replace("sales", "other")) == AzureAccount("other", None, None)


def test_a_national_cloud_is_that_of_the_address():
    account = azure_account("abfs://rows@…", "sales.dfs.core.chinacloudapi.cn")
    options = account.options()
    assert options["blob_storage_authority"] == ".blob.core.chinacloudapi.cn"
    assert options["dfs_storage_authority"] == ".dfs.core.chinacloudapi.cn"


@pytest.mark.parametrize("variables", [{}, {"CONNECTION_STRING": f"AccountKey={KEY}"}, {"CONNECTION_STRING": KEY[:20]}])
def test_an_account_that_nothing_names_is_an_error_without_secrets(environment, variables):
    environment(**variables)
    with pytest.raises(ConfigError, match=r"AZURE_STORAGE_\w+") as refused:
        file_system(address_of("az://rows/x"))
    assert KEY[:20] not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "address", "path"),
    [
        ("gs://rows/2026/", "gs://rows/2026", "rows/2026"),
        ("GCS://Rows/a b?#", "gs://Rows/a b?#", "Rows/a b?#"),
        ("az:/rows/x", "abfs://rows/x", "rows/x"),
        ("abfss://rows@s.dfs.core.windows.net/x/y", "abfs://rows@s.dfs.core.windows.net/x/y", "rows/x/y"),
        ("s3://rows", "s3://rows", "rows"),
    ],
)
def test_an_address_has_one_form(given, address, path):
    assert (address_of(given), object_path(address_of(given))) == (address, path)


@pytest.mark.parametrize("given", ["gs://", "abfs://@sales.dfs.core.windows.net/x"])
def test_an_address_without_a_bucket_is_refused(given):
    with pytest.raises(ConfigError, match="names no bucket"):
        address_of(given)


def test_another_store_is_refused_with_those_that_are_read():
    with pytest.raises(ConfigError, match=r"^hdfs://rows/x: hdfs addresses .* s3://, gs:// or abfs://$"):
        address_of("hdfs://rows/x")

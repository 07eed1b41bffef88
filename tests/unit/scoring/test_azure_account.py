"""The account of Azure that an address belongs to: from the address, or from the variables that Azure's tools read."""

from __future__ import annotations

import base64
import hmac
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlencode

import pyarrow as pa
import pytest

from mlrf.core.errors import ConfigError
from mlrf.scoring.azure_account import AzureAccount, azure_account
from mlrf.scoring.remote_files import address_of, file_system, object_path
from mlrf.scoring.remote_objects import Store
from object_stores import AZURE_KEY, KINDS, object_store

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
        ({"ACCOUNT_NAME": "sales", "SAS_TOKEN": "?sv=1&sig=2"}, AzureAccount("sales", None, "?sv=1&sig=2")),
        ({"ACCOUNT_NAME": "sales"}, AzureAccount("sales", None, None)),
        (
            {"CONNECTION_STRING": "BlobEndpoint=https://sales.blob.core.windows.net/;SharedAccessSignature=sv=1&sig=2"},
            AzureAccount("sales", None, "?sv=1&sig=2"),
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


def test_a_pyarrow_that_ends_the_process_is_refused(environment, monkeypatch):
    environment(ACCOUNT_NAME="sales", ACCOUNT_KEY=KEY)
    monkeypatch.setattr(pa, "__version__", "17.0.0")
    with pytest.raises(ConfigError, match=r"^abfs://rows/x: needs pyarrow 20 or later, not 17\.0\.0; update it$"):
        file_system("abfs://rows/x")


class _Refusing(BaseHTTPRequestHandler):
    """Refuses every request, as Azure does with a token that has expired."""

    def handle_one_request(self):
        self.raw_requestline = self.rfile.readline()
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        self.send_response(403)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_arguments):
        pass


def test_a_signature_is_not_in_errors(environment):
    with ThreadingHTTPServer(("127.0.0.1", 0), _Refusing) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        endpoint = f"BlobEndpoint=http://127.0.0.1:{server.server_port}/sales;AccountName=sales"
        environment(CONNECTION_STRING=f"{endpoint};SharedAccessSignature=sv=2024-08-04&sig=c2VjcmV0&se=2027")
        store = Store("abfs://rows/x")
        messages = []
        for call in (store.sizes, store.is_object, lambda: store.read("y"), lambda: store.write("y", b"")):
            with pytest.raises(OSError, match=r"127\.0\.0\.1") as failed:
                call()
            assert failed.value.__cause__ is None
            messages.append(str(failed.value))
        server.shutdown()
    assert "c2VjcmV0" not in "".join(messages)
    assert "sig=…" in "".join(messages)


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


def signature(permissions, expiry):
    """A shared access signature of Azurite's account: https://learn.microsoft.com/rest/api/storageservices/create-account-sas."""
    version, services, kinds = "2022-11-02", "b", "sco"
    text = f"devstoreaccount1\n{permissions}\n{services}\n{kinds}\n\n{expiry}\n\nhttp,https\n{version}\n\n"
    digest = hmac.digest(base64.b64decode(AZURE_KEY), text.encode(), "sha256")
    fields = {"sv": version, "ss": services, "srt": kinds, "sp": permissions, "se": expiry, "spr": "http,https"}
    return urlencode({**fields, "sig": base64.b64encode(digest).decode()})


@pytest.mark.parametrize("store", [pytest.param("abfs", marks=KINDS[2].marks)])
def test_a_token_signs_requests(store, tmp_path, monkeypatch):
    with object_store(store, tmp_path) as azurite:
        azurite.put("a/rows.csv", b"x")
        connection = azurite.variables["AZURE_STORAGE_CONNECTION_STRING"].replace(f"AccountKey={AZURE_KEY}", "{}")
        for permissions, answer in (("rwdlacup", b"x"), ("l", None)):
            token = f"SharedAccessSignature={signature(permissions, '2099-01-01T00:00:00Z')}"
            monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", connection.format(token))
            reader = Store(azurite.address("a"))
            if answer is None:
                with pytest.raises(OSError, match=r"AuthorizationPermissionMismatch|403") as refused:
                    reader.read("rows.csv")
                assert "sig=…" in str(refused.value)
            else:
                reader.write("written.csv", b"y")
                assert (reader.read("rows.csv"), reader.read("written.csv")) == (answer, b"y")
                assert reader.sizes() == {"rows.csv": 1, "written.csv": 1}

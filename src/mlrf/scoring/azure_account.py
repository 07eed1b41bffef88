"""The account of Azure Storage that an address belongs to, from the address and the variables that Azure's tools read.

1. AZURE_STORAGE_CONNECTION_STRING, or else AZURE_STORAGE_ACCOUNT_NAME (AZURE_STORAGE_ACCOUNT) with AZURE_STORAGE_ACCOUNT_KEY
   (AZURE_STORAGE_KEY) or AZURE_STORAGE_SAS_TOKEN. Without a key or token, the SDK finds credentials: AZURE_CLIENT_ID and the
   like, a workload or managed identity, the login of the command line.
2. The account that an address names counts; a key or token of another account is not sent to it.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from mlrf.core.errors import ConfigError

_CONNECTION = "AZURE_STORAGE_CONNECTION_STRING"
_EMULATOR = {  # the account of every Azurite: https://learn.microsoft.com/azure/storage/common/storage-connect-azurite
    "AccountName": "devstoreaccount1",
    "AccountKey": "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
    "BlobEndpoint": "http://127.0.0.1:10000/devstoreaccount1",
}


class AzureAccount(NamedTuple):
    """An account, how requests are signed, and where they go."""

    name: str
    key: str | None
    token: str | None
    """A shared access signature, from its question mark."""
    scheme: str = "https"
    authority: str = ".blob.core.windows.net"
    """The host of the blob service with its port; after the account's name if it begins with a dot."""

    def options(self) -> dict[str, Any]:
        """Return the options of pyarrow's AzureFileSystem."""
        lake = self.authority.replace(".blob.", ".dfs.", 1)
        options = {f"{service}_storage_scheme": self.scheme for service in ("blob", "dfs")}
        options |= {"blob_storage_authority": self.authority, "dfs_storage_authority": lake}
        if self.key is not None:
            options["account_key"] = self.key
        return options if self.token is None else options | {"sas_token": self.token}


def azure_account(address: str, host: str) -> AzureAccount:
    """Return the account of an address; ConfigError if none is named.

    `host` is that of the address, such as `sales.dfs.core.windows.net`, or empty.
    """
    found = _of_environment()
    named, dot, rest = host.partition(".")
    authority = f".blob.{rest.partition('.')[2]}" if dot else ".blob.core.windows.net"
    if not host:
        if found is None:
            raise ConfigError(
                f"{address}: names no account; give abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH, or set "
                "AZURE_STORAGE_ACCOUNT_NAME"
            )
        return found
    if found is not None and found.name == named:
        return (
            found
            if found.authority != AzureAccount._field_defaults["authority"]
            else found._replace(authority=authority)
        )
    return AzureAccount(named, None, None, authority=authority)


def _of_environment() -> AzureAccount | None:
    variables = os.environ
    if variables.get(_CONNECTION):
        return _of_connection(variables[_CONNECTION])
    name = variables.get("AZURE_STORAGE_ACCOUNT_NAME") or variables.get("AZURE_STORAGE_ACCOUNT")
    if not name:
        return None
    key = variables.get("AZURE_STORAGE_ACCOUNT_KEY") or variables.get("AZURE_STORAGE_KEY") or None
    return AzureAccount(name, key, None if key else _token(variables.get("AZURE_STORAGE_SAS_TOKEN")))


def _of_connection(text: str) -> AzureAccount:
    """Return the account of a connection string; ConfigError, which does not show it, if it names none."""
    fields = dict(each.strip().split("=", 1) for each in text.split(";") if "=" in each)
    if fields.get("UseDevelopmentStorage", "").lower() == "true":
        fields = _EMULATOR
    endpoint = urlsplit(fields.get("BlobEndpoint", ""))
    name = fields.get("AccountName") or endpoint.netloc.partition(".blob.")[0]
    if not name:
        raise ConfigError(f"{_CONNECTION}: has no AccountName; copy the whole string from the account's access keys")
    scheme = endpoint.scheme or fields.get("DefaultEndpointsProtocol", "https")
    suffix = f".blob.{fields.get('EndpointSuffix', 'core.windows.net')}"
    authority = endpoint.netloc.removeprefix(name) or suffix
    key = fields.get("AccountKey")
    return AzureAccount(name, key, None if key else _token(fields.get("SharedAccessSignature")), scheme, authority)


def _token(text: str | None) -> str | None:
    return f"?{text.removeprefix('?')}" if text else None  # pyarrow appends it to URLs as it is

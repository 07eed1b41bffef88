"""`Client` and `AsyncClient` take the same arguments, and declare them once."""

from __future__ import annotations

import inspect

import pytest

from mlrf.client import AsyncClient, Client
from mlrf.client.configured_client import ConfiguredClient
from mlrf.core.errors import ConfigError

METHODS = {name for name, value in vars(Client).items() if inspect.isfunction(value) and not name.startswith("_")}


def test_both_have_the_same_methods_and_arguments():
    assert {"predict", "explain", "by_key"} <= METHODS
    for name in METHODS:
        assert inspect.signature(getattr(Client, name)) == inspect.signature(getattr(AsyncClient, name)), name
    assert {name for name in vars(AsyncClient) if not name.startswith("_")} == METHODS


@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_the_constructor_is_declared_once(client):
    assert client.__init__ is ConfiguredClient.__init__
    made = client("http://127.0.0.1:9", model="sales", key="secret-key", timeout_s=2.0)
    assert repr(made) == f"{client.__name__}('http://127.0.0.1:9', model='sales')"
    assert "secret-key" not in repr(made._transport.settings)
    with pytest.raises(ConfigError, match="not the URL of a server"):
        client("127.0.0.1:9")

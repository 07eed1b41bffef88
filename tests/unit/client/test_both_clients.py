"""`Client` and `AsyncClient` take the same arguments, and declare them once."""

from __future__ import annotations

import inspect
import math
import time

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


@pytest.mark.parametrize("client", [Client, AsyncClient])
@pytest.mark.parametrize(
    ("argument", "value", "advice"),
    [
        ("key", "secret-key\n", r"pass key\.strip\(\)"),
        ("key", "", r"pass key\.strip\(\)"),
        ("model", "sales/../admin", "model: 'sales/../admin' is not"),
        ("model", "", "model: '' is not"),
        ("timeout_s", math.nan, "timeout_s: is nan; give a number of seconds"),
        ("timeout_s", None, "timeout_s: is None; give a number of seconds"),
        ("retries", -1, "retries: is -1"),
        ("ca_file", "/absent.pem", "ca_file: '/absent.pem' cannot be read"),
        ("ca_file", __file__, "ca_file: .* cannot be read as certificates"),
    ],
)
def test_an_argument_that_cannot_be_used_is_named(client, argument, value, advice):
    with pytest.raises(ConfigError, match=advice) as caught:
        client("https://127.0.0.1:9", **{argument: value})
    assert "secret-key" not in str(caught.value)


@pytest.mark.parametrize("client", [Client, AsyncClient])
@pytest.mark.parametrize("url", ["http://host:99999", "http://host:x", "http://host/a b", "http://hôst", "http://[::1"])
def test_a_url_that_cannot_be_sent_is_refused(client, url):
    with pytest.raises(ConfigError, match="not the URL of a server"):
        client(url)


def test_an_endless_timeout_is_the_longest_of_the_header():
    assert Client("http://127.0.0.1:9", timeout_s=math.inf)._transport.settings.deadline_s() - time.monotonic() < 1e5

"""The Python client of a running `mlrf serve`: predictions and explanations for tables, records or keys."""

from __future__ import annotations

from mlrf.client.async_client import AsyncClient
from mlrf.client.client import Client
from mlrf.client.errors import ServerUnreachableError, VersionChangedError
from mlrf.core.leniency import Leniency

__all__ = ["AsyncClient", "Client", "Leniency", "ServerUnreachableError", "VersionChangedError"]

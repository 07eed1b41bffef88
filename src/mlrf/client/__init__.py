"""The Python client of a running `mlrf serve`: rows, records or keys in, predictions and explanations out."""

from __future__ import annotations

from mlrf.client.client import Client
from mlrf.client.errors import ServerUnreachableError, VersionChangedError

__all__ = ["Client", "ServerUnreachableError", "VersionChangedError"]

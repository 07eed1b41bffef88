"""`ConfiguredClient`: the constructor that `Client` and `AsyncClient` share, with the meaning of its arguments."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from mlrf.client.calls import Calls
from mlrf.client.transport_settings import TransportSettings
from mlrf.core.errors import ConfigError
from mlrf.core.leniency import STRICT, Leniency
from mlrf.core.manifest import NAME_PATTERN, NAME_RULE

TransportT = TypeVar("TransportT")


class ConfiguredClient(ABC, Generic[TransportT]):
    """A client of one server, without the methods that send requests."""

    def __init__(
        self,
        url: str,
        *,
        model: str | None = None,
        key: str | None = None,
        timeout_s: float = 10.0,
        retries: int = 3,
        ca_file: str | None = None,
        compress: bool = False,
        leniency: Leniency = STRICT,
    ) -> None:
        """Store the settings; connections are opened by requests.

        `model`: the name of a served model; without it the server's default. `key`: an API key, sent as a bearer token.
        `timeout_s`: seconds for a whole call, including retries and chunks, at most 99,999. `retries`: attempts after the first
        for a request that could not be delivered or was answered with 503. `ca_file`: certificates to trust instead of the
        system's. `compress`: send bodies of 1 KiB and more in gzip. `leniency`: how tables are read, as in `Model.predict`.
        ConfigError if one of these cannot be used, or, for `AsyncClient`, if httpx is not installed.
        """
        if model is not None and not NAME_PATTERN.fullmatch(model):
            raise ConfigError(f"model: {model!r} is not {NAME_RULE}")
        self._url = url
        self._model = model
        self._calls = Calls(model, leniency)
        self._transport = self._make_transport(
            url,
            TransportSettings(key=key, timeout_s=timeout_s, retries=retries, ca_file=ca_file, compress=compress),
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._url!r}, model={self._model!r})"

    @staticmethod
    @abstractmethod
    def _make_transport(url: str, settings: TransportSettings) -> TransportT:
        """Return the transport, which sends the requests."""

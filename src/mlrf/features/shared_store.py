"""The interface of shared stores: what a backend on another machine offers besides `FeatureStore`.

A new one is a class that implements `SharedStore`, a line of `SHARED_STORES` in `open_stores.py`, and, for the package that it
needs, an extra in pyproject.toml (with `make lock`). Help texts, checks and errors take the addresses from that table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Protocol, Self, runtime_checkable

from mlrf.features.interface import FeatureStore, Loaded, RowsSource
from mlrf.features.row_format import RowFormat


@runtime_checkable
class SharedStore(FeatureStore, Protocol):
    """A store on another machine, which several servers share and which is awaited."""

    package: ClassVar[str]
    """The package that it needs, as it is imported."""
    extra: ClassVar[str]
    """What installs that package: `mlrf[redis]`."""

    @classmethod
    def at(cls, url: str, model: str, rows: RowFormat, timeout_s: float) -> Self:
        """Return the store of a model's rows at an address, without connecting; ConfigError when it cannot be used."""
        ...

    @staticmethod
    def wrong_in_address(url: str) -> str | None:
        """Return the fault of an address, None if there is none; the text never contains the address."""
        ...

    async def connect(self, limit_s: float) -> None:
        """Open a connection before the first request needs it; if that fails, the request fails."""
        ...

    async def load(self, rows: RowsSource, source: str, progress: Callable[[int], None]) -> Loaded:
        """Replace all rows by those of a file, atomically; of rows with the same key the latest is kept.

        Rows pushed meanwhile are kept. `progress` receives the number of rows read; `source` is stored as their origin.
        """
        ...

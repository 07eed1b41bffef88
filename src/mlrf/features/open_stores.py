"""Opens the stores that a bundle is served with, in a worker after the fork.

`SHARED_STORES` is the table of shared stores, and the only place that names them: options, command line and server take the
class from it. The settings import this module first of all, so it imports what opens a store when it opens one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from mlrf.core.manifest import EXPLANATIONS
from mlrf.features.interface import TIMEOUT_S
from mlrf.features.local_folders import local_folders

if TYPE_CHECKING:
    from mlrf.core.bundle import Bundle
    from mlrf.features.interface import ExplanationStore, FeatureStore
    from mlrf.features.row_format import RowFormat
    from mlrf.features.shared_store import SharedStore


def _redis() -> type[SharedStore]:
    from mlrf.features.redis_store import RedisStore  # noqa: PLC0415  a start without it does not import asyncio early

    return RedisStore


class SharedKind(msgspec.Struct, frozen=True):
    """A kind of shared store."""

    store: Callable[[], type[SharedStore]]
    """Returns its class; its module is imported only if it is used."""
    address: str
    """The form of its addresses, for help texts."""


SHARED_STORES: Mapping[str, SharedKind] = {
    "redis": SharedKind(_redis, "redis://HOST:PORT/0"),
    "rediss": SharedKind(_redis, "rediss://HOST:PORT/0"),
    "unix": SharedKind(_redis, "unix:///PATH?db=0"),
}
"""The kinds of shared stores, by the scheme of their addresses."""


def address_forms() -> str:
    """Return the forms of addresses, for help texts."""
    return ", ".join(kind.address for kind in SHARED_STORES.values())


def wrong_in_address(url: str) -> str | None:
    """Return the fault of a shared store's address, None if there is none; the text never contains the address."""
    shared = SHARED_STORES.get(_scheme(url))
    if shared is None:
        return f"the address of a shared store begins with {', '.join(f'{scheme}://' for scheme in SHARED_STORES)}"
    return shared.store().wrong_in_address(url)


def missing_extra(url: str) -> str | None:
    """Return what must be installed for the shared store at an address; None if it is installed."""
    shared = SHARED_STORES[_scheme(url)].store()
    return shared.extra if find_spec(shared.package) is None else None


def open_shared(url: str, model: str, rows: RowFormat, timeout_s: float = TIMEOUT_S) -> SharedStore:
    """Return the shared store of a model's rows at an address without a fault; ConfigError when it cannot be used."""
    return SHARED_STORES[_scheme(url)].store().at(url, model, rows, timeout_s)


def _scheme(url: str) -> str:
    """Return the scheme of an address; empty if it has none."""
    scheme, separator, _ = url.partition("://")
    return scheme if separator else ""


def open_store(
    bundle: Bundle, state_dir: Path, url: str | None = None, timeout_s: float = TIMEOUT_S
) -> FeatureStore | None:
    """Open the store of a bundle's rows: under `state_dir`, importing the rows of the bundle, or at `url`.

    None if the bundle is not served by key.

    ConfigError when the store cannot be used; BundleError when the bundle's rows cannot be read.
    """
    from mlrf.features.row_format import row_format  # noqa: PLC0415  as in `open_rows`

    rows = row_format(bundle)
    return None if rows is None else open_rows(bundle, rows, state_dir, url, timeout_s)


def open_rows(
    bundle: Bundle, rows: RowFormat, state_dir: Path, url: str | None = None, timeout_s: float = TIMEOUT_S
) -> FeatureStore:
    """Open the store of a bundle that is served by key, whose rows have the given format. Errors as `open_store`."""
    if url is not None:
        return open_shared(url, bundle.name, rows, timeout_s)
    from mlrf.features.seed_store import import_rows  # noqa: PLC0415  the settings import this module, and open no store

    import_rows(bundle, state_dir)
    from mlrf.features.lmdb_store import LmdbStore  # noqa: PLC0415  the arbiter imports this module, but not LMDB

    return LmdbStore(local_folders(state_dir, bundle, rows).rows, rows)


def open_explanations(bundle: Bundle, state_dir: Path) -> ExplanationStore | None:
    """Open the explanations of a bundle; None if it has none. Errors as `open_store`."""
    from mlrf.features.row_format import row_format  # noqa: PLC0415  as in `open_rows`

    rows = row_format(bundle)
    if rows is None or EXPLANATIONS not in bundle.manifest.files:
        return None
    from mlrf.features.seed_store import import_rows  # noqa: PLC0415  as above

    import_rows(bundle, state_dir, shared=True)
    from mlrf.features.explanation_store import EmbeddedExplanations, model_digest  # noqa: PLC0415  as above

    path = local_folders(state_dir, bundle, rows).explanations
    n_values = bundle.manifest.n_features * bundle.manifest.n_outputs
    return None if path is None else EmbeddedExplanations(path, rows, model_digest(bundle), n_values)

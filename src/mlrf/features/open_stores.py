"""Opens the stores that a bundle is served with, in a worker after the fork."""

from __future__ import annotations

from pathlib import Path

from mlrf.core.bundle import Bundle
from mlrf.core.manifest import EXPLANATIONS
from mlrf.features.interface import TIMEOUT_S, ExplanationStore, FeatureStore
from mlrf.features.row_format import RowFormat, row_format
from mlrf.features.seed_store import import_rows
from mlrf.features.store_location import store_location


def open_store(
    bundle: Bundle, state_dir: Path, url: str | None = None, timeout_s: float = TIMEOUT_S
) -> FeatureStore | None:
    """Open the store of a bundle's rows: under `state_dir`, importing the rows of the bundle, or at `url`.

    None if the bundle is not served by key.

    ConfigError when the store cannot be used; BundleError when the bundle's rows cannot be read.
    """
    rows = row_format(bundle)
    return None if rows is None else open_rows(bundle, rows, state_dir, url, timeout_s)


def open_rows(
    bundle: Bundle, rows: RowFormat, state_dir: Path, url: str | None = None, timeout_s: float = TIMEOUT_S
) -> FeatureStore:
    """Open the store of a bundle that is served by key, whose rows have the given format. Errors as `open_store`."""
    if url is not None:
        from mlrf.features.redis_commands import round_trips  # noqa: PLC0415  most servers have no shared store
        from mlrf.features.redis_store import RedisStore  # noqa: PLC0415

        return RedisStore(url, bundle.name, rows, timeout_s, round_trips(url))
    import_rows(bundle, state_dir)
    from mlrf.features.lmdb_store import LmdbStore  # noqa: PLC0415  the arbiter imports this module, but not LMDB

    return LmdbStore(store_location(state_dir, bundle, rows).rows, rows)


def open_explanations(bundle: Bundle, state_dir: Path) -> ExplanationStore | None:
    """Open the explanations of a bundle; None if it has none. Errors as `open_store`."""
    rows = row_format(bundle)
    if rows is None or EXPLANATIONS not in bundle.manifest.files:
        return None
    import_rows(bundle, state_dir, shared=True)
    from mlrf.features.explanation_store import EmbeddedExplanations, model_digest  # noqa: PLC0415  as above

    path = store_location(state_dir, bundle, rows).explanations
    n_values = bundle.manifest.n_features * bundle.manifest.n_outputs
    return None if path is None else EmbeddedExplanations(path, rows, model_digest(bundle), n_values)

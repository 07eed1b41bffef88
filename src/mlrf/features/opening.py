"""The stores that a bundle is served with; opened in a worker, after the fork."""

from __future__ import annotations

from pathlib import Path

from mlrf.core.bundle import EXPLANATIONS, Bundle
from mlrf.features.embedded import EmbeddedStore
from mlrf.features.explanations import EmbeddedExplanations, model_digest
from mlrf.features.place import place_of
from mlrf.features.port import ExplanationStore, FeatureStore
from mlrf.features.row_format import row_format


def open_store(bundle: Bundle, state_dir: Path) -> FeatureStore | None:
    """Open the store of a bundle's rows; None where the bundle is not asked by key.

    ConfigError when the store cannot be used.
    """
    rows = row_format(bundle)
    if rows is None:
        return None
    return EmbeddedStore(place_of(state_dir, bundle, rows).rows, rows)


def open_explanations(bundle: Bundle, state_dir: Path) -> ExplanationStore | None:
    """Open the contributions that a bundle brings; None where it brings none."""
    rows = row_format(bundle)
    if rows is None or EXPLANATIONS not in bundle.manifest.files:
        return None
    place = place_of(state_dir, bundle, rows).explanations
    return None if place is None else EmbeddedExplanations(place, rows, model_digest(bundle))

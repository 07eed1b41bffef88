"""Names that a caller gives to the features of a model that was trained on arrays, in place of the library's numbered ones."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from mlrf.builder.importers.imported_model import ImportedGraph, ImportedModel, ImportOptions
from mlrf.core.errors import SampleError

if TYPE_CHECKING:
    from mlrf.builder.importers.interface import Library
    from mlrf.builder.model_source import Source

_SHOWN = 3


def read_with_names(
    library: Library, numbered: Collection[str], source: Source, import_options: ImportOptions
) -> ImportedModel | ImportedGraph:
    """Read a model of a library with names for the columns of arrays (`Library.numbered`), and give its features the names.

    `numbered` are these names of all libraries: a combination has those of its members.
    SampleError if the model has names of its own, or another number of features.
    """
    names = import_options.feature_names or ()
    own = {name: str(library.numbered).format(index) for index, name in enumerate(names)}
    given = {numbered_name: name for name, numbered_name in own.items()}
    imported = library.read(
        source,
        replace(
            import_options,
            feature_names=None,
            categories={own.get(name, name): listed for name, listed in import_options.categories.items()},
            sampled=lambda name: import_options.sampled(given.get(name, name)),
        ),
    )
    features = imported.features
    known = [feature.name for feature in features]
    if not any(known == [each.format(index) for index in range(len(known))] for each in numbered):
        first = ", ".join(known[:_SHOWN])
        raise SampleError(f"feature names are given, but the model has its own ({first}, …); leave them out")
    if len(names) != len(features):
        raise SampleError(f"{len(names)} feature names are given, but the model has {len(features)} features")
    return replace(
        imported,
        features=tuple(
            msgspec.structs.replace(feature, name=name) for feature, name in zip(features, names, strict=True)
        ),
    )

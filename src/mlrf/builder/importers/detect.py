"""Detects the library that made a model, and reads the model with that library's importer.

Each importer (`importers/lightgbm`, `importers/xgboost`, …) defines a `Library`: how its files and objects are recognised and
read. Detection uses only bytes and class names, and so imports no training library.
"""

from __future__ import annotations

import pkgutil
from dataclasses import replace
from importlib import import_module
from typing import Any

from mlrf.builder import importers
from mlrf.builder.foreign_files import foreign_container, foreign_file, foreign_object
from mlrf.builder.importers.given_names import read_with_names
from mlrf.builder.importers.imported_model import ImportedGraph, ImportedModel, ImportOptions
from mlrf.builder.importers.interface import Library
from mlrf.builder.model_source import ModelFile, ModelObject, Source, open_source, unfrozen
from mlrf.core.errors import ModelUnreadableError, SampleError, UnsupportedModelError


def _libraries() -> tuple[Library, ...]:
    """Return the libraries of the packages of importers, in the order in which they are tried."""
    packages = [each.name for each in pkgutil.iter_modules(importers.__path__) if each.ispkg]
    modules = [import_module(f"{importers.__name__}.{name}") for name in packages]
    # `onnx_graph` and `onnx_steps` have none: they read files that the package `onnx_trees` recognises.
    found: list[Library] = [module.LIBRARY for module in modules if hasattr(module, "LIBRARY")]
    return tuple(sorted(found, key=lambda library: library.turn))


LIBRARIES = _libraries()

LIBRARY_NAMES = tuple(sorted({library.name for library in LIBRARIES}, key=str.lower))
"""Their names, each once, in alphabetical order."""
_SHOWN_BYTES = 12
_SHOWN_KEY = 40


def import_model(
    model: Any, import_options: ImportOptions | None = None, *, allow_pickle: bool = False
) -> ImportedModel | ImportedGraph:
    """Recognise a model and read it.

    ModelUnreadableError if no library recognises the file, or it is damaged; UnsupportedModelError if it is recognised but not
    served.
    """
    source = open_source(model, allow_pickle=allow_pickle)
    if isinstance(source, ModelObject):
        source = replace(source, value=unfrozen(source.value))
    library, import_options = recognise(source), import_options or ImportOptions()
    if not library.takes_names and import_options.task is not None:
        raise SampleError(f"a task is given, but a {library.name} model defines that itself; leave it out")
    if library.takes_names or import_options.feature_names is None:
        imported = library.read(source, import_options)
    elif library.numbered is not None:
        numbered = {each.numbered for each in LIBRARIES if each.numbered is not None}
        imported = read_with_names(library, numbered, source, import_options)
    else:
        raise SampleError(f"feature names are given, but a {library.name} model defines them itself; leave them out")
    return replace(imported, notes=(*source.notes, *imported.notes)) if isinstance(source, ModelObject) else imported


def recognise(source: Source) -> Library:
    """Return the library of a source."""
    foreign = (
        foreign_file(source.path, source.content)
        if isinstance(source, ModelFile)
        else foreign_object([kind.__module__ for kind in type(source.value).__mro__])
    )
    if foreign is not None:
        what = f"the file {source.path}" if isinstance(source, ModelFile) else f"the {type(source.value).__name__}"
        raise UnsupportedModelError(f"{what} is {foreign}")
    for library in LIBRARIES:
        if isinstance(source, ModelFile):
            is_of_library = library.recognises(source.content)
        else:
            is_of_library = any(source.is_of(package) for package in library.packages)
            is_of_library |= library.recognises_object is not None and library.recognises_object(source.value)
        if is_of_library:
            return library
    kinds = "; ".join(library.reads for library in LIBRARIES)
    if isinstance(source, ModelFile):
        raise ModelUnreadableError(
            f"the file {source.path} is not a model that mlrf can read: {_describe(source.content)}. mlrf reads {kinds}"
        )
    kind = type(source.value)
    if isinstance(source.value, dict | list | tuple):
        if (dump := foreign_container(source.value)) is not None:
            raise UnsupportedModelError(f"the {kind.__name__} is {dump}")
        index = repr(next(iter(source.value), "…"))[:_SHOWN_KEY] if isinstance(source.value, dict) else "0"
        raise UnsupportedModelError(
            f"mlrf builds from one model, but this is a {kind.__name__} of {len(source.value)} objects; take the model out "
            f"of it: mlrf.build(models[{index}], …) in Python, or save the model alone"
        )
    raise UnsupportedModelError(
        f"mlrf builds from a model file or a fitted model, not from {kind.__module__}.{kind.__qualname__}. mlrf reads {kinds}"
    )


def _describe(content: bytes) -> str:
    start = content[:_SHOWN_BYTES]
    if start.isascii() and all(byte >= ord(" ") or byte in b"\t\r\n" for byte in start):
        return f"it is text that begins with {start.decode('ascii')!r}"
    return f"it begins with the bytes {start.hex(' ')}"

"""Selection of the engine of a bundle. Engines are imported only when selected: each import costs memory and time."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from mlrf.core.bundle import Bundle
from mlrf.core.errors import BundleError, ConfigError
from mlrf.core.manifest import FINAL_FOREST, FOREST, ONNX_MODEL, CombinationEntry, GraphEntry
from mlrf.engines.interface import Engine

TREES, ONNX_RUNTIME = ENGINES = ("trees", "onnxruntime")
ONNX_EXTRA = "pip install 'mlrf[onnx]'"


def open_engine(bundle: Bundle, name: str | None = None) -> Engine:
    """Start the named engine for a bundle, or the best one that it has files for.

    ConfigError for an unknown name, or when the engine's package is not installed; BundleError when the bundle's file for it is
    missing, refused, or of another shape.
    """
    check_engine(bundle, name)
    check_package(bundle, name)
    graph = bundle.manifest.graph
    engine = _start(bundle, name) if graph is None else _start_graph(bundle, graph)
    expected = (bundle.manifest.n_features, bundle.manifest.n_outputs)
    if (engine.n_features, engine.n_outputs) != expected:
        raise BundleError(
            f"{bundle.path}: the {engine.name} engine's model has {engine.n_features} features and {engine.n_outputs} outputs, "
            f"the manifest says {expected[0]} and {expected[1]}",
            file=FOREST if engine.name == TREES else ONNX_MODEL,
        )
    return engine


def check_engine(bundle: Bundle, name: str | None) -> None:
    """Raise ConfigError when no engine has this name, or the named one cannot serve a bundle of this kind."""
    if name not in (None, *ENGINES):
        raise ConfigError(f"unknown engine {name!r}; choose one of {', '.join(ENGINES)}", option="engine")
    if bundle.manifest.graph is not None and name == TREES:
        raise ConfigError(
            f"{bundle.name} is a graph of operators, not a forest; use the engine {ONNX_RUNTIME}", option="engine"
        )
    if name == ONNX_RUNTIME and ONNX_MODEL not in bundle.manifest.files and name not in bundle.manifest.parity:
        raise ConfigError(
            f"{bundle.name} was built without {ONNX_MODEL} (`mlrf inspect` says why); use the engine {TREES}",
            option="engine",
        )


def check_package(bundle: Bundle, name: str | None) -> None:
    """Raise ConfigError when the engine of a bundle is ONNX Runtime and that is not installed. It is not imported."""
    if engine_file(bundle, name) != ONNX_MODEL or onnx_runtime_is_installed():
        return
    if bundle.manifest.graph is not None:
        reason = f"{bundle.name} is a graph of operators, which ONNX Runtime computes"
    elif name is None:
        reason = f"{bundle.name} has only {ONNX_MODEL}, which ONNX Runtime computes"
    else:
        reason = f"the engine {name} was requested for {bundle.name}"
    raise ConfigError(f"{reason}, but the package {ONNX_RUNTIME} is not installed: {ONNX_EXTRA}", option="engine")


def onnx_runtime_is_installed() -> bool:
    """Return whether ONNX Runtime can be imported, without importing it."""
    try:
        return find_spec(ONNX_RUNTIME) is not None
    except ValueError:  # it is hidden in sys.modules
        return False


def engine_file(bundle: Bundle, name: str | None = None) -> str:
    """Return the name of the file that the engine of a bundle reads."""
    is_graph = bundle.manifest.graph is not None
    return (
        FOREST if name == TREES or (name is None and FOREST in bundle.manifest.files and not is_graph) else ONNX_MODEL
    )


def tree_engine(path: Path, combination: CombinationEntry | None, final: Path | None = None) -> Engine:
    """Return the engine of a forest file, which holds the trees of a combination's members if there is one.

    `final` is the file of the trees that read the members' answers, if the combination has some.
    """
    from mlrf.engines.tree_kernel import TreeEngine  # noqa: PLC0415

    trees = TreeEngine(path)
    if trees.has_linear_leaves:
        from mlrf.engines.linear_trees import LinearLeafEngine  # noqa: PLC0415

        return LinearLeafEngine(trees)
    if combination is None:
        return trees
    from mlrf.core.combination import Combination  # noqa: PLC0415
    from mlrf.engines.combined import combined_engine  # noqa: PLC0415

    try:
        combined = Combination(combination)
        if combined.n_outputs != trees.n_outputs or min(member.outputs for member in combination.members) < 1:
            raise ValueError(f"the forest has {trees.n_outputs} outputs, the members {combined.n_outputs}")
        engine = combined_engine(trees, combined, None if final is None else TreeEngine(final))
        if not engine.n_outputs:
            raise ValueError("it has no margin")
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise BundleError(
            f"{path}: the manifest's combination of models is damaged ({error}); build the bundle again"
        ) from error
    return engine


def _start_graph(bundle: Bundle, graph: GraphEntry) -> Engine:
    from mlrf.engines.onnx_graph import GraphEngine  # noqa: PLC0415

    path = bundle.file(ONNX_MODEL)
    shape = bundle.manifest.n_features, bundle.manifest.n_outputs
    lists = {i: f.categories for i, f in enumerate(bundle.schema.features) if f.categories is not None}
    try:
        return GraphEngine(path, graph, shape, lists)
    except BundleError as error:
        raise _renamed(error, bundle, ONNX_MODEL, path) from error


def _start(bundle: Bundle, name: str | None) -> Engine:
    file = engine_file(bundle, name)
    path = bundle.file(file)
    try:
        if file == FOREST:
            combination = bundle.manifest.combination
            has_final = combination is not None and combination.final != "none"
            return tree_engine(path, combination, bundle.file(FINAL_FOREST) if has_final else None)
        from mlrf.engines.onnxruntime import OnnxRuntimeEngine  # noqa: PLC0415

        return OnnxRuntimeEngine(path)
    except BundleError as error:
        raise _renamed(error, bundle, file, path) from error


def _renamed(error: BundleError, bundle: Bundle, file: str, path: Path) -> BundleError:
    # Name the file by its path in the bundle, not by that of an open descriptor.
    return BundleError(str(error).replace(str(path), str(bundle.path / file)), file=file)

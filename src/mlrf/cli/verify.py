"""`mlrf verify`: check digests and replay golden rows on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.progress import track

from mlrf.cli.bundle_argument import BundleArgument
from mlrf.cli.path_arguments import non_empty_path
from mlrf.cli.progress import progress_console
from mlrf.cli.sign import check_identity
from mlrf.core.bundle import Bundle
from mlrf.core.errors import BundleError, ConfigError
from mlrf.core.manifest import FOREST, GOLDEN, ONNX_MODEL
from mlrf.core.named_bundle import open_bundle
from mlrf.engines.interface import Explainer
from mlrf.engines.selection import ONNX_EXTRA, ONNX_RUNTIME, TREES, onnx_runtime_is_installed, open_engine
from mlrf.features.stored_files import check_stored_files
from mlrf.model.explanation import ADDITIVITY_LIMIT, additivity_gap
from mlrf.model.replay import replay
from mlrf.model.row_predictor import RowPredictor

if TYPE_CHECKING:
    from mlrf.builder.bundle.golden_parquet import Golden

_PREDICTION_LIMITS = {"float64": 1e-9, "float32": 1e-6}


def verify(
    bundle: BundleArgument,
    engine: Annotated[
        str | None, typer.Option(help="Engine to check (default: the one that `mlrf serve` would use).")
    ] = None,
    identity: Annotated[
        list[Path] | None,
        typer.Option(
            parser=non_empty_path,
            metavar="KEY",
            help="Public key (PEM) that must have signed it; repeat for any of several.",
        ),
    ] = None,
) -> None:
    """Check a bundle's digests and replay its golden rows through the engine that would serve it.

    Run it where the bundle will be served: another machine or another version of ONNX Runtime must reproduce the training
    library's predictions. The exit status is 3 when a digest or a prediction differs, or none of the keys of --identity signed
    it. Where ONNX Runtime is not installed, the digest of model.onnx is checked, but not its predictions.

    Example: mlrf verify sales
    """
    try:
        from mlrf.builder.bundle.golden_parquet import read_golden  # noqa: PLC0415  a server may lack pyarrow
    except ImportError as error:
        raise ConfigError(f"reading golden rows needs pyarrow: pip install 'mlrf[build]' ({error})") from error
    found = open_bundle(bundle)
    if identity:
        check_identity(found, identity)
    model = RowPredictor(found, open_engine(found, engine))
    replay(model)
    note = _check_other_engine(found, model.engine.name)
    golden = read_golden(found.file(GOLDEN))
    if golden.rows.shape[1] != found.manifest.n_features or golden.margins.shape[1] != found.manifest.n_outputs:
        raise BundleError(f"{bundle}: its golden rows do not match its model", file=GOLDEN)
    mean = float(np.mean(np.abs(golden.margins)))
    link = found.link.vector()
    margin_limit, limit = found.manifest.margin_limit, _PREDICTION_LIMITS[found.manifest.precision]
    if found.manifest.graph is not None:
        limit = margin_limit  # the margins of a graph are its predictions
    # A float32 softmax is inaccurate for small probabilities.
    typical = 0.0 if found.manifest.precision == "float64" else float(np.mean(np.abs(golden.predictions)))
    rows = track(range(len(golden.rows)), "replaying golden rows", console=progress_console(), transient=True)
    equal = 0
    for index in rows:
        # Row by row, like most requests; the rows as one batch are compared below.
        margin = np.array(model.engine.margin(golden.rows[index].tolist()))
        expected = golden.margins[index]
        equal += bool(np.array_equal(margin, expected))
        predicted = np.array(link(margin.tolist()))
        if not (
            _close(margin, expected, margin_limit, mean)
            and _close(predicted, golden.predictions[index], limit, typical)
        ):
            raise BundleError(
                f"{bundle}: golden row {index} ({golden.kinds[index]}) gives {margin.tolist()}, but the training library "
                f"gave {expected.tolist()}; do not serve it with the {model.engine.name} engine of this machine",
                file=GOLDEN,
            )
    _check_batch(bundle, model, golden)
    check_stored_files(found)
    typer.echo(
        f"{found.name} {found.short_version}: {len(found.manifest.files)} files intact, {len(golden.rows)} golden rows "
        f"predicted as in training by {model.engine.name}, {equal} of them equal to the bit"
    )
    if note:
        typer.echo(note)


def _check_other_engine(bundle: Bundle, checked: str) -> str | None:
    """Replay the golden rows through the other engine that the bundle has a file for, or return why that was not possible.

    BundleError when the file is damaged.
    """
    other, file = (ONNX_RUNTIME, ONNX_MODEL) if checked == TREES else (TREES, FOREST)
    if file not in bundle.manifest.files or bundle.manifest.graph is not None:
        return None
    if other == ONNX_RUNTIME and not onnx_runtime_is_installed():
        return (
            f"the predictions of {ONNX_MODEL} were not checked, because {ONNX_RUNTIME} is not installed: {ONNX_EXTRA}"
        )
    replay(RowPredictor(bundle, open_engine(bundle, other)))
    return None


def _check_batch(bundle: Path, model: RowPredictor, golden: Golden) -> None:
    """Compute all rows in one batch, and their contributions if the engine explains; BundleError when one differs."""
    engine, table = model.engine, np.ascontiguousarray(golden.rows)
    margins = np.frombuffer(engine.margins(table.data), dtype=np.float64).reshape(golden.margins.shape)
    alone = np.array([engine.margin(row) for row in table.tolist()]).reshape(golden.margins.shape)
    if not np.array_equal(margins, alone, equal_nan=True):
        raise BundleError(
            f"{bundle}: the {engine.name} engine predicts golden rows differently in a batch and one at a time",
            file=GOLDEN,
        )
    if not isinstance(engine, Explainer):
        return
    if not np.allclose(engine.base, model.bundle.manifest.base, rtol=ADDITIVITY_LIMIT, atol=ADDITIVITY_LIMIT):
        raise BundleError(f"{bundle}: the expected margin in {FOREST} differs from the manifest's", file=FOREST)
    contributions = np.frombuffer(engine.contributions_many(table.data), dtype=np.float64)
    gap = additivity_gap(margins, contributions.reshape(len(table), table.shape[1], -1), engine.base)
    if gap > ADDITIVITY_LIMIT:
        raise BundleError(
            f"{bundle}: the contributions of golden rows differ from their margins by {gap:.3g} of their size",
            file=FOREST,
        )


def _close(
    got: np.ndarray[tuple[int], np.dtype[np.float64]],
    expected: np.ndarray[tuple[int], np.dtype[np.float64]],
    relative: float,
    mean: float,
) -> bool:
    same = got == expected
    limit = relative * np.maximum(np.abs(expected), mean)
    with np.errstate(invalid="ignore"):
        return bool(np.all(same | (np.abs(got - expected) <= limit)))

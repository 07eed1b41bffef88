"""Checks the rows and explanations in a bundle's files as a start reads them, without keeping them. It needs pyarrow."""

from __future__ import annotations

from importlib.util import find_spec

from mlrf.core.bundle import Bundle
from mlrf.core.errors import BundleError, RowsError
from mlrf.core.manifest import EXPLANATIONS, FEATURES
from mlrf.features.row_format import RowFormat, row_format


def check_stored_files(bundle: Bundle) -> None:
    """Raise BundleError if a server could not load the bundle's rows or explanations; without pyarrow, nothing is checked."""
    rows = row_format(bundle)
    if rows is None or find_spec("pyarrow") is None:
        return
    try:
        _read(bundle, rows)
    except RowsError as error:
        raise BundleError(str(error), file=FEATURES) from error


def _read(bundle: Bundle, rows: RowFormat) -> None:
    from mlrf.features.explanation_store import model_digest  # noqa: PLC0415
    from mlrf.features.explanations_parquet import read_explanations  # noqa: PLC0415
    from mlrf.features.rows_parquet import RowsFile  # noqa: PLC0415

    manifest = bundle.manifest
    if FEATURES in manifest.files:
        as_of = None if manifest.rows is None else manifest.rows.as_of_column
        for _ in RowsFile(bundle.file(FEATURES), rows, as_of_column=as_of, partial=True).batches():
            pass
    if EXPLANATIONS in manifest.files:
        width = manifest.n_features * manifest.n_outputs
        for _ in read_explanations(bundle.file(EXPLANATIONS), rows, model_digest(bundle), width):
            pass

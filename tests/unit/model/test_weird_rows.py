"""Rows of every odd kind: answered, or refused in mlrf's own words; no error of another library reaches the caller."""

from __future__ import annotations

import pytest

import mlrf
from bundles import write_tree_bundle
from mlrf.core.errors import MlrfError
from mlrf.core.manifest import LinkEntry
from mlrf.scoring import Scorer
from odd_rows import ROWS


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weird")
    return write_tree_bundle(folder / "b", task="binary", link=LinkEntry("sigmoid"), classes=["no", "yes"])


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")
@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("call", ["predict", "label", "probabilities", "margin", "explain", "curve", "score"])
def test_odd_rows_are_answered_or_refused_in_our_own_words(path, kind, call):
    model = mlrf.load(path)
    ask = {
        "predict": model.predict,
        "label": model.label,
        "probabilities": model.probabilities,
        "margin": model.margin,
        "explain": model.explain,
        "curve": lambda rows: model.curve(rows, "price"),
        "score": Scorer(path),
    }[call]
    try:
        ask(ROWS[kind]())
    except MlrfError as error:
        assert len(str(error)) < 500


@pytest.mark.parametrize("kind", ["Arrow, no UTF-8", "Arrow, times beyond datetime"])
def test_a_column_that_its_library_cannot_convert_is_named(path, kind):
    with pytest.raises(MlrfError, match=r"feature '(store|price)': the column, of type .*; convert it to numbers"):
        mlrf.load(path).predict(ROWS[kind]())

"""Arguments of a job and of a scorer that are refused before a row is scored."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bundles import NUMBERS, write_tree_bundle
from mlrf.core.errors import ConfigError, InvalidRequestError, OutputExistsError
from mlrf.scoring import Scorer, score


@pytest.fixture
def bundle(tmp_path):
    return write_tree_bundle(tmp_path / "bundle", schema=NUMBERS)


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({name: [0.5] * 10 for name in NUMBERS.names}), path)
    return path


@pytest.mark.parametrize("workers", [0, -1])
def test_a_job_has_at_least_one_worker(bundle, rows, tmp_path, workers):
    with pytest.raises(ConfigError, match=f"workers must be at least 1, not {workers}"):
        score(bundle, rows, tmp_path / "out", workers=workers)
    assert not (tmp_path / "out").exists()


def test_an_input_named_twice_is_refused(bundle, rows, tmp_path):
    with pytest.raises(ConfigError, match=r"rows\.parquet is named twice"):
        score(bundle, [rows, tmp_path / "*.parquet"], tmp_path / "out")


def test_an_input_inside_the_output_is_refused(bundle, rows, tmp_path):
    with pytest.raises(ConfigError, match="is an input inside the output directory"):
        score(bundle, rows, tmp_path)
    assert rows.exists()


@pytest.mark.parametrize("below", ["", "scored"])
def test_an_output_inside_the_bundle_is_refused(bundle, rows, tmp_path, below):
    before = sorted(bundle.iterdir())
    with pytest.raises(ConfigError, match=r"is inside the bundle .*; choose another --out"):
        score(bundle, rows, bundle / below)
    assert sorted(bundle.iterdir()) == before


def test_an_output_that_is_a_file_is_refused(bundle, rows, tmp_path):
    (tmp_path / "out").write_text("kept")
    with pytest.raises(OutputExistsError, match="already exists and is not a file of this job"):
        score(bundle, rows, tmp_path / "out")
    assert (tmp_path / "out").read_text() == "kept"


@pytest.mark.parametrize("rows", [None, 3, [[0.5, 0.5, 0.5]]])
def test_what_is_no_table_is_refused_by_a_scorer(bundle, rows):
    with pytest.raises(InvalidRequestError, match="a Scorer takes an Arrow table or record batch"):
        Scorer(bundle)(rows)

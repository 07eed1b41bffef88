"""Files in object stores as inputs: the same answers as from this machine, and one sentence for what goes wrong."""

from __future__ import annotations

import re
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bundles import NUMBERS, write_bundle
from mlrf.cli import main
from mlrf.core.errors import ConfigError, OutputExistsError
from mlrf.scoring import Scorer, remote_files, score
from object_stores import KINDS, object_store


@pytest.fixture(scope="module", params=KINDS)
def store(request, tmp_path_factory):
    with object_store(request.param, tmp_path_factory.mktemp(request.param)) as store:
        yield store


@pytest.fixture
def folder(tmp_path, store):
    """Rows on this machine, and the same in the store below a folder with the test's name."""
    write_bundle(tmp_path / "b", schema=NUMBERS)
    values = np.random.default_rng(0).normal(size=(90, 3))
    table = pa.table({"id": [f"A{row}" for row in range(90)], **{f"x{i}": values[:, i] for i in range(3)}})
    for index in range(3):
        rows = table.slice(30 * index, 30)
        (tmp_path / f"in/year={index}").mkdir(parents=True)
        pq.write_table(rows, tmp_path / f"in/year={index}/rows.parquet", row_group_size=20)
    rows = table.to_pandas().to_csv(index=False)
    (tmp_path / "in/_hidden.csv").write_text(rows)
    (tmp_path / "in/all.csv").write_text(rows)
    store.upload(tmp_path / "in", tmp_path.name)
    return tmp_path


def scored(out):
    return {str(path.relative_to(out)): pq.ParquetFile(path).read().to_pydict() for path in out.rglob("part-*")}


@pytest.mark.parametrize(
    "pattern", ["", "/*/rows.parquet", "/year=[0-1]/*.parquet", "/**/*.csv", "/year=2/rows.parquet"]
)
def test_addresses_folders_and_globs_give_the_same_answers(folder, store, pattern):
    options = {"keep": ["id"], "workers": 2}
    local = score(folder / "b", f"{folder}/in{pattern}", folder / "local", **options)
    remote = score(folder / "b", store.address(f"{folder.name}{pattern}"), folder / "remote", **options)
    assert (remote.rows, remote.parts) == (local.rows, local.parts)
    assert scored(folder / "remote") == scored(folder / "local") != {}
    again = score(folder / "b", store.address(f"{folder.name}{pattern}"), folder / "remote", **options)
    assert (again.run, again.parts_scored) == (remote.run, 0)


def test_an_object_is_predicted_as_a_file(folder, store, capfd):
    answers = []
    for rows in (str(folder / "in/all.csv"), store.address(f"{folder.name}/all.csv")):
        assert main(["predict", str(folder / "b"), rows]) == 0
        answers.append(capfd.readouterr().out)
    assert answers[0] == answers[1]
    assert answers[0].count("\n") == 90


def test_a_changed_object_is_noticed(folder, store):
    address = store.address(f"{folder.name}/all.csv")
    score(folder / "b", address, folder / "out")
    content = (folder / "in/all.csv").read_bytes()
    store.put(f"{folder.name}/all.csv", content + content.splitlines(True)[-1])
    with pytest.raises(OutputExistsError, match="--restart"):
        score(folder / "b", address, folder / "out")


@pytest.mark.parametrize("name", ["absent.csv", "absent/*.csv"])
def test_what_is_not_in_the_store_is_named(folder, store, name):
    with pytest.raises(ConfigError, match=r"absent.*(names no file|cannot be read)"):
        score(folder / "b", store.address(f"{folder.name}/{name}"), folder / "out")


def test_an_object_that_vanishes_is_one_sentence(folder, store, monkeypatch):
    real = Scorer.answer

    def removed(self, *arguments):
        store.delete(f"{folder.name}/all.csv")
        return real(self, *arguments)

    monkeypatch.setattr(Scorer, "answer", removed)
    with pytest.raises(ConfigError, match=r"all.csv (cannot be read|changed)"):
        score(folder / "b", store.address(f"{folder.name}/all.csv"), folder / "out")
    assert not list((folder / "out").glob("part-*"))


def test_an_unreachable_store_is_one_sentence(folder, store, monkeypatch):
    monkeypatch.setattr(remote_files, "_RETRY_LIMIT", timedelta(seconds=0))
    for name, value in store.variables.items():
        monkeypatch.setenv(name, re.sub(r"//127\.0\.0\.1:\d+", "//127.0.0.1:9", value))
    address = store.address(f"{folder.name}/all.csv")
    with pytest.raises(ConfigError, match=rf"{store.scheme}://.* cannot be read: ") as refused:
        score(folder / "b", address, folder / "out")
    assert "\n" not in str(refused.value)


def test_keys_may_have_blanks_and_special_characters(folder, store):
    content = (folder / "in/year=0/rows.parquet").read_bytes()
    keys = [f"odd {folder.name}/a b/region=x%2Fy/rows {each}.parquet" for each in ("1%20", "2+ü", "3#?", "4[1]")]
    for key in keys:
        store.put(key, content)
    assert score(folder / "b", store.address(f"odd {folder.name}"), folder / "out", keep=["id"]).rows == 120
    assert {path.parent.name for path in (folder / "out").rglob("part-*")} == {"region=x%2Fy"}
    for index, key in enumerate(keys):
        assert score(folder / "b", store.address(f"{key}"), folder / f"out{index}").rows == 30

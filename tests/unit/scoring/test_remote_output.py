"""Parts in object stores: finished once they are recorded, never over other objects, the same after every interruption."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bundles import NUMBERS, write_tree_bundle
from mlrf.cli import main
from mlrf.core.errors import BuildError, ConfigError, InvalidRequestError, OutputExistsError
from mlrf.scoring import remote_objects, score
from mlrf.scoring.part_writer import PartWriter
from object_stores import KINDS, object_store

SCRIPT = Path(__file__).parents[2] / "crashing_uploads.py"


@pytest.fixture(scope="module", params=[pytest.param("s3", marks=pytest.mark.slow), *KINDS[1:]])
def store(request, tmp_path_factory):
    with object_store(request.param, tmp_path_factory.mktemp(request.param)) as store:
        yield store


@pytest.fixture
def folder(tmp_path):
    """A bundle `b`, and 30 rows `in`, of which row 4 is invalid, 10 of them again in a partition."""
    write_tree_bundle(tmp_path / "b", schema=NUMBERS)
    (tmp_path / "in/day=1 a%2Fb").mkdir(parents=True)
    values = np.random.default_rng(0).normal(size=(30, 3))
    values[4, 1] = np.inf
    table = pa.table({"id": np.arange(30), **{f"x{i}": values[:, i] for i in range(3)}})
    pq.write_table(table, tmp_path / "in/rows.parquet", row_group_size=12)
    pq.write_table(table.slice(10, 10), tmp_path / "in/day=1 a%2Fb/rows.parquet")
    return tmp_path


OPTIONS = {"keep": ["id"], "on_bad_row": "quarantine"}


def run(folder, store, **options):
    return score(folder / "b", folder / "in", store.address(f"{folder.name}/out"), **{**OPTIONS, **options})


def content(folder, store):
    return store.content(f"{folder.name}/out")


@pytest.mark.parametrize("kind", ["parquet", "arrow", "csv"])
def test_parts_are_those_of_a_directory(folder, store, kind):
    local = score(folder / "b", folder / "in", folder / "out", format=kind, **OPTIONS)
    remote = run(folder, store, format=kind)
    assert (remote.run, remote.rows, remote.parts, remote.bad_rows) == (local.run, 40, 4, 1)
    written = content(folder, store)
    name_of = lambda name: name.replace(f"-{remote.run}.", ".")  # noqa: E731  in a directory only CSV has it
    expected = {
        name_of(str(path.relative_to(folder / "out"))): path.read_bytes() for path in (folder / "out").rglob("*.*")
    }
    manifest = json.loads(written.pop("_manifest.json"))
    assert {name_of(name): data for name, data in written.items()} == {
        name: data for name, data in expected.items() if name != "_manifest.json"
    }
    for part in manifest["parts"]:
        data = written[part["name"]]
        assert (part["bytes"], part["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    assert sum(part["rows"] for part in manifest["parts"]) == 40


def test_a_finished_job_scores_nothing_again(folder, store):
    first = run(folder, store)
    before = content(folder, store)
    again = run(folder, store)
    assert (again.run, again.parts, again.parts_scored) == (first.run, 4, 0)
    assert content(folder, store) == before


def test_a_stopped_job_goes_on_where_it_stopped(folder, store):
    with pytest.raises(InvalidRequestError, match="row"):
        run(folder, store, on_bad_row="stop", workers=1)
    left = content(folder, store)
    assert "_manifest.json" not in left
    summary = run(folder, store)
    assert summary.parts_scored < summary.parts
    assert not [name for name in content(folder, store) if name.startswith("_finished")]


def test_a_part_that_is_not_recorded_is_scored_again(folder, store):
    """As Azure shows it: an empty or shortened object, of which the upload did not end."""
    run(folder, store)
    expected = content(folder, store)
    part = next(name for name in expected if name.startswith("part-00001"))
    for half in (b"", expected[part][:50]):
        store.delete(f"{folder.name}/out/_manifest.json")
        store.put(f"{folder.name}/out/{part}", half)
        assert run(folder, store).parts_scored == 4
        assert content(folder, store) == expected


@pytest.mark.parametrize("changed", [b"", b"PAR1 is a foreign file"])
def test_a_finished_part_that_was_changed_is_refused(folder, store, changed):
    run(folder, store)
    part = next(name for name in content(folder, store) if name.startswith("part-00001"))
    store.put(f"{folder.name}/out/{part}", changed)
    with pytest.raises(OutputExistsError, match=r"part-00001-.* is not what this job wrote; delete it"):
        run(folder, store)
    store.delete(f"{folder.name}/out/{part}")
    assert run(folder, store).parts_scored == 1


def test_foreign_objects_are_refused_and_left(folder, store):
    store.put(f"{folder.name}/out/notes.txt", b"kept")
    with pytest.raises(OutputExistsError, match="did not write; choose an address without any"):
        run(folder, store)
    assert content(folder, store) == {"notes.txt": b"kept"}
    assert score(folder / "b", folder / "in", store.address(f"{folder.name}/other"), **OPTIONS).rows == 40


def test_an_address_that_is_an_object_is_refused(folder, store):
    store.put(f"{folder.name}/out", b"kept")
    with pytest.raises(OutputExistsError, match="is an object, not a folder"):
        run(folder, store)
    assert store.get(f"{folder.name}/out") == b"kept"
    assert score(folder / "b", folder / "in", store.address(f"{folder.name}/other"), **OPTIONS).rows == 40


def test_another_job_is_refused_and_deleted_on_request(folder, store):
    run(folder, store, keep=[])
    before = content(folder, store)
    store.put(f"{folder.name}/out/notes.txt", b"kept")
    with pytest.raises(OutputExistsError, match=r"another job.*--restart"):
        run(folder, store)
    assert content(folder, store) == before | {"notes.txt": b"kept"}
    run(folder, store, restart=True)
    after = content(folder, store)
    assert after["notes.txt"] == b"kept"
    assert not [name for name in after if name.startswith("part-") and name in before]


def test_a_foreign_job_file_is_refused(folder, store):
    store.put(f"{folder.name}/out/_job.json", b"[]")
    with pytest.raises(OutputExistsError, match=r"_job\.json: is not a job file"):
        run(folder, store)
    store.put(f"{folder.name}/out/_job.json", b"")  # the upload of which a kill ended
    assert run(folder, store).parts_scored == 4


def test_of_two_jobs_at_once_one_stops_before_its_manifest(folder, store, monkeypatch):
    real = PartWriter.write

    def write(self, name, part):
        monkeypatch.setattr(PartWriter, "write", real)
        run(folder, store, keep=[], restart=True)
        return real(self, name, part)

    monkeypatch.setattr(PartWriter, "write", write)
    with pytest.raises(OutputExistsError, match="another job writes to it too"):
        run(folder, store, workers=1)
    assert json.loads(content(folder, store)["_job.json"])["keep"] == []
    assert score(folder / "b", folder / "in", store.address(f"{folder.name}/other"), **OPTIONS).rows == 40


def test_inputs_are_neither_in_the_output_nor_its_own_parts(folder, store):
    store.upload(folder / "in", folder.name)
    address = store.address(folder.name)
    with pytest.raises(ConfigError, match=r"rows\.parquet is an input inside the output directory"):
        score(folder / "b", f"{address}/rows.parquet", address)
    first = score(folder / "b", address, f"{address}/out", **OPTIONS)
    again = score(folder / "b", address, f"{address}/out", **OPTIONS)
    assert (first.parts, again.parts, again.parts_scored) == (4, 4, 0)


def test_an_upload_that_is_cut_off_is_noticed(folder, store, monkeypatch):
    real = remote_objects.file_system
    monkeypatch.setattr(remote_objects, "file_system", lambda address: _CutOff(real(address)))
    with pytest.raises(BuildError, match=r"part-.* cannot be written: the store has \d+ bytes of \d+; finished parts"):
        run(folder, store)
    monkeypatch.setattr(remote_objects, "file_system", real)
    assert run(folder, store).parts_scored == 4


class _CutOff:
    """A file system that keeps the first half of a part."""

    def __init__(self, files):
        self._files = files

    def __getattr__(self, name):
        return getattr(self._files, name)

    @contextmanager
    def open_output_stream(self, path):
        with self._files.open_output_stream(path) as stream:
            yield SimpleNamespace(
                write=lambda content: stream.write(content[: len(content) // 2] if "/part-" in path else content)
            )


def test_records_that_another_process_of_the_job_deletes_are_no_error(folder, store, monkeypatch):
    """As it does when it has finished: the manifest lists the parts then."""
    real = remote_objects.file_system
    monkeypatch.setattr(remote_objects, "file_system", lambda address: _Forgetful(real(address)))
    assert run(folder, store).parts_scored == 4
    monkeypatch.setattr(remote_objects, "file_system", real)
    assert run(folder, store).parts_scored == 0


class _Forgetful(_CutOff):
    """A file system that deletes records as soon as they are written."""

    @contextmanager
    def open_output_stream(self, path):
        with self._files.open_output_stream(path) as stream:
            yield stream
        if "/_finished/" in path:
            self._files.delete_file(path)


@pytest.mark.parametrize("stride", [36, pytest.param(1, marks=pytest.mark.slow)])
def test_a_killed_job_continues_to_the_same_bytes(folder, store, stride):
    (folder / "work").mkdir()
    command = [sys.executable, SCRIPT, folder, store.address(f"{folder.name}/out"), str(stride)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) >= 30, "every step was one at which it was killed"


def test_a_missing_directory_for_temporary_files_is_one_sentence(folder, store, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "absent"))
    with pytest.raises(BuildError, match=r"temporary files .*absent cannot be written: No such file or directory"):
        run(folder, store)
    assert [name for name in content(folder, store) if name.startswith("part-")] == []


def test_a_bucket_that_does_not_exist_is_one_sentence(folder, store):
    address = store.address("x").replace("models", "no-such-bucket")
    with pytest.raises(BuildError, match=r"no-such-bucket.* cannot be written: ") as refused:
        score(folder / "b", folder / "in", address, **OPTIONS)
    assert "\n" not in str(refused.value)


def test_the_command_writes_to_an_address(folder, store, capsys):
    address = store.address(f"{folder.name}/out")
    assert main(["score", str(folder / "b"), str(folder / "in"), "-o", address, "--on-bad-row", "null"]) == 0
    assert f"40 rows in 4 parts of {address}, 4 of them scored now" in " ".join(capsys.readouterr().out.split())

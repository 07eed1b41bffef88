"""`mlrf score`: equal to `Model.predict` bit for bit, resumable to the byte, and never overwriting other files."""

from __future__ import annotations

import os
import pickle
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mlrf
from bundles import NUMBERS, write_bundle, write_tree_bundle
from mlrf.cli import main
from mlrf.core.errors import (
    BuildError,
    BundleError,
    ConfigError,
    InvalidRequestError,
    MissingFeatureError,
    OutputExistsError,
)
from mlrf.core.link import Link
from mlrf.core.publishing import publish
from mlrf.scoring import Scorer, output, score
from running import eventually

GROUP, GROUPS = 50, 8


def numbers(n, seed=0):
    random_numbers = np.random.default_rng(seed).normal(size=(n, 3))
    random_numbers[::7, 1] = np.nan
    return pa.table({"id": np.arange(n), **{f"x{i}": random_numbers[:, i] for i in range(3)}})


@pytest.fixture
def folder(tmp_path):
    write_bundle(tmp_path / "b", schema=NUMBERS, task="binary", link=Link("sigmoid"), classes=["no", "yes"])
    (tmp_path / "in").mkdir()
    for index in range(2):
        rows = numbers(GROUP * GROUPS // 2, index)
        pq.write_table(rows, tmp_path / f"in/{index}.parquet", row_group_size=GROUP)
    return tmp_path


def run(folder, **options):
    return score(folder / "b", [folder / "in"], folder / "out", keep=["id"], **options)


def content(directory):
    return {path.name: path.read_bytes() for path in sorted(Path(directory).iterdir())}


def test_scores_equal_predict_bit_for_bit_in_input_order(folder):
    summary = run(folder)
    assert (summary.rows, summary.parts, summary.parts_scored) == (GROUP * GROUPS, GROUPS, GROUPS)
    rows = pa.concat_tables([pq.read_table(folder / f"in/{i}.parquet") for i in range(2)])
    found = pa.concat_tables([pq.read_table(path) for path in sorted((folder / "out").glob("part-*"))])
    model = mlrf.load(folder / "b")
    assert found.column_names == ["id", "prediction", "label"]
    assert found["prediction"].to_numpy().tobytes() == model.predict(rows.drop_columns("id")).tobytes()
    assert found["label"].to_pylist() == model.label(rows.drop_columns("id"))
    assert found["id"].equals(rows["id"])
    named = pq.read_metadata(folder / "out/part-00000-000000.parquet").metadata
    assert (named[b"mlrf.version"].decode(), named[b"mlrf.run"].decode()) == (model.bundle.version, summary.run)


def test_the_number_of_workers_alters_no_byte(folder):
    run(folder, workers=1)
    one = content(folder / "out")
    score(folder / "b", [folder / "in"], folder / "out3", keep=["id"], workers=3)
    assert content(folder / "out3") == one


class Killed(BaseException):
    """Simulates the end of the process."""


@pytest.mark.parametrize(
    ("step", "calls"),
    [
        *((step, calls) for step in ("rename", "sync_directory") for calls in (1, 2, 4)),
        ("replace_file", 1),
        ("replace_file", 2),
    ],
)
def test_a_crash_at_any_step_resumes_to_the_same_bytes(folder, monkeypatch, step, calls):
    expected = score(folder / "b", [folder / "in"], folder / "whole", keep=["id"])
    left, real = [calls], getattr(output, step)

    def crash(*arguments):
        left[0] -= 1
        if left[0] == 0:
            raise Killed
        return real(*arguments)

    monkeypatch.setattr(output, step, crash)
    with pytest.raises(Killed):
        run(folder, workers=1)
    monkeypatch.undo()
    done = len(list((folder / "out").glob("part-*")))
    assert run(folder).parts_scored == GROUPS - done
    assert content(folder / "out") == content(folder / "whole")
    assert expected.parts == GROUPS


@pytest.mark.slow  # tests/ops/test_killed_scoring.py kills the command, too
def test_killed_command_continues_where_it_was(folder):
    for index in range(2):
        pq.write_table(numbers(1000, index), folder / f"in/{index}.parquet", row_group_size=20)
    command = [sys.executable, "-m", "mlrf", "score", folder / "b", folder / "in", "-o", folder / "out", "--keep", "id"]
    score(folder / "b", [folder / "in"], folder / "whole", keep=["id"])
    wait_s = random.Random(3)
    for n_parts in (1, 15, 30):
        process = subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL)
        eventually(lambda: len(list((folder / "out").glob("part-*"))) >= n_parts or process.poll() is not None)  # noqa: B023
        time.sleep(wait_s.uniform(0, 0.005))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (folder / "out" / "_manifest.json").exists(), "none of them came to its end"
    subprocess.run([*map(str, command)], check=True, stdout=subprocess.DEVNULL)
    assert content(folder / "out") == content(folder / "whole")


def test_changed_job_needs_restart_option(folder):
    run(folder)
    with pytest.raises(OutputExistsError, match="--restart"):
        score(folder / "b", [folder / "in"], folder / "out")
    pq.write_table(numbers(GROUP), folder / "in/1.parquet")
    with pytest.raises(OutputExistsError, match="--restart"):
        run(folder)
    assert run(folder, restart=True).rows == GROUP * GROUPS // 2 + GROUP
    assert len(list((folder / "out").glob("part-*"))) == GROUPS // 2 + 1


def test_a_job_does_not_continue_with_parts_of_another_layout(folder, monkeypatch):
    run(folder)
    monkeypatch.setattr("mlrf.scoring.job._LAYOUT", 1)
    with pytest.raises(OutputExistsError, match="--restart"):
        run(folder)


def test_nothing_is_written_over_a_foreign_file(folder):
    (folder / "out").mkdir()
    (folder / "out/notes.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match="`mlrf score` did not write"):
        run(folder, restart=True)
    assert content(folder / "out") == {"notes.txt": b"mine"}


def test_a_foreign_file_in_a_parts_place_is_refused_and_stays(folder):
    run(folder)
    (folder / "out/part-00000-000003.parquet").write_bytes(b"mine")
    with pytest.raises(OutputExistsError, match="part-00000-000003"):
        run(folder)
    assert (folder / "out/part-00000-000003.parquet").read_bytes() == b"mine"


def test_a_bad_row_is_named_and_the_parts_before_it_stay(folder):
    rows = numbers(GROUP * 2).set_column(1, "x0", pa.array([0.0] * (GROUP + 5) + [float("inf")] + [0.0] * (GROUP - 6)))
    pq.write_table(rows, folder / "in/1.parquet", row_group_size=GROUP)
    with pytest.raises(InvalidRequestError, match=rf"in/1.parquet: row {GROUP + 5}: .*x0") as refused:
        run(folder, workers=1)
    assert refused.value.details["row"] == GROUP + 5
    assert len(list((folder / "out").glob("*part-*"))) == GROUPS // 2 + 1


def test_columns_are_checked_before_the_first_row(folder):
    pq.write_table(numbers(5).drop_columns("x1"), folder / "in/1.parquet")
    with pytest.raises(MissingFeatureError, match=r"1.parquet.*x1"):
        run(folder)
    assert not (folder / "out").exists()
    with pytest.raises(ConfigError, match="'when' to keep"):
        score(folder / "b", [folder / "in/0.parquet"], folder / "out", keep=["when"])


def test_a_full_disk_is_one_sentence_and_leaves_the_parts(folder):
    code = (
        "import resource, sys; from mlrf.cli import main; import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000)); sys.exit(main(sys.argv[1:]))"
    )
    pq.write_table(numbers(9000), folder / "in/1.parquet")
    arguments = ["score", str(folder / "b"), str(folder / "in"), "-o", str(folder / "out"), "--workers=1", "--keep=id"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("\n") == 1
    assert "cannot be written" in done.stderr
    assert len(list((folder / "out").glob("*part-*"))) == GROUPS // 2


def test_input_changed_during_scoring_is_refused(folder, monkeypatch):
    real = Scorer.answer

    def touched(self, *arguments):
        os.utime(folder / "in/0.parquet", (1, 1))
        return real(self, *arguments)

    monkeypatch.setattr(Scorer, "answer", touched)
    with pytest.raises(ConfigError, match="changed while"):
        run(folder, workers=1)
    assert not list((folder / "out").glob("*part-*"))
    monkeypatch.undo()
    assert run(folder, restart=True).rows > 0


def test_two_jobs_do_not_write_at_once(folder):
    directory = output.OutputDirectory(folder / "out", "run")
    with (
        directory.opened({}, restart=False),
        pytest.raises(OutputExistsError, match="another process"),
        directory.opened({}, restart=False),
    ):
        pass


def test_a_directory_that_cannot_be_made_is_said(folder):
    (folder / "file").write_text("")
    with pytest.raises((BuildError, ConfigError, OutputExistsError), match="file"):
        score(folder / "b", [folder / "in"], folder / "file")


def test_a_file_in_the_output_path_is_named_as_no_directory(folder):
    (folder / "file").write_text("")
    with pytest.raises(ConfigError, match="is not a directory; give a directory for the parts"):
        score(folder / "b", [folder / "in"], folder / "file/parts")


@pytest.mark.parametrize("name", ["empty", "*.parquet"])
def test_an_input_without_files_is_refused(folder, name):
    (folder / "empty").mkdir()
    with pytest.raises(ConfigError, match="names no file that can be scored"):
        score(folder / "b", [folder / name], folder / "out")


def test_a_kept_column_is_one_of_the_table_and_no_output(folder):
    with pytest.raises(InvalidRequestError, match="no column 'id' to keep"):
        Scorer(folder / "b", keep=["id"])(numbers(3).drop_columns(["id"]))
    for name in ("prediction", "label"):
        with pytest.raises(ConfigError, match=f"'{name}' has the name of an output column"):
            Scorer(folder / "b", keep=[name])


def test_a_scorer_travels_by_version(folder):
    scorer = Scorer(folder / "b", keep=["id"])
    frozen = pickle.dumps(scorer)
    assert pickle.loads(frozen)(numbers(9)).equals(scorer(numbers(9)))  # noqa: S301
    for path in (folder / "b").iterdir():
        path.unlink()
    (folder / "b").rmdir()
    write_tree_bundle(folder / "b")
    with pytest.raises(BundleError, match="with which the job began"):
        pickle.loads(frozen)  # noqa: S301


def test_the_command_reports_and_ends_as_the_others(folder, capsys):
    arguments = ["score", str(folder / "b"), f"{folder}/in/*.parquet", "-o", str(folder / "out")]
    assert main(arguments) == 0
    assert f"{GROUP * GROUPS} rows in {GROUPS} parts" in capsys.readouterr().out
    assert main([*arguments, "--keep", "id"]) == 2
    assert main([*arguments[:2], f"{folder}/none-*.parquet", *arguments[3:]]) == 2


def test_repository_model_is_scored_and_loaded_by_name(folder):
    publish(folder / "b", folder / "models")
    for name in ("sample", "sample@1"):
        summary = score(folder / "models" / name, [folder / "in"], folder / "out", keep=["id"])
        assert summary.run == run(folder).run, "the same job, whatever its model is named by"
        assert mlrf.load(folder / "models" / name).bundle.version == mlrf.load(folder / "b").bundle.version

"""`mlrf explain` and `mlrf bench` as a shell sees them."""

from __future__ import annotations

import json
import re
import subprocess

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mlrf
from bundles import ALL_KINDS, write_bundle, write_tree_bundle
from mlrf.cli import engine_timing, main
from mlrf.cli.engine_timing import FIGURES, rows_for, single_rows, time_engines
from mlrf.cli.waterfall_text import waterfall
from mlrf.core.bundle import read_bundle
from mlrf.core.feature import Kind
from mlrf.core.manifest import LinkEntry
from mlrf.model.drawing import RowContributions
from mlrf.serving.native.explanation_writer import ExplanationWriter
from running import MLRF

NAMES = list(ALL_KINDS.names)
ROWS = [
    ALL_KINDS.example(),
    ALL_KINDS.example() | {"price": None, "store": "north"},
    ALL_KINDS.example() | {"price": -2.0, "promo": False, "code": 1},
]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_tree_bundle(tmp_path_factory.mktemp("cli") / "b", name="sales", link=LinkEntry("exp"))


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    path = tmp_path_factory.mktemp("cli") / "c"
    shape = {"n_outputs": 3, "task": "multiclass", "link": LinkEntry("softmax"), "classes": ["a", 2, "c"]}
    return write_tree_bundle(path, name="classes", **shape)


@pytest.fixture(scope="module")
def stumps(tmp_path_factory):
    return write_bundle(tmp_path_factory.mktemp("cli") / "s", name="stumps")


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(ROWS))
    return path


def run(capsys, *arguments):
    status = main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def lines_of(stdout):
    """The waterfall's lines: first word, and the number at the end."""
    return [(line.split("  ")[0].strip(), float(line.split()[-1])) for line in stdout.splitlines()[1:]]


@pytest.mark.parametrize("row", [None, 0, 1, 2])
def test_the_waterfall_goes_from_the_base_to_the_prediction(capsys, bundle, rows, row):
    status, stdout, error = run(capsys, "explain", bundle, rows, *([] if row is None else ["--row", row]))
    assert (status, error) == (0, "")
    assert stdout.startswith(f"sales {read_bundle(bundle).short_version}, row {row or 0} of 3")
    lines = lines_of(stdout)
    model = mlrf.load(bundle)
    explained = model.explain([ROWS[row or 0]])
    phis = explained.values[0]
    order = sorted(range(7), key=lambda f: -abs(phis[f]))
    assert [name for name, _ in lines] == ["base", *(NAMES[f] for f in order), "margin", "prediction"]
    expected = [explained.base, *phis[order], model.margin([ROWS[row or 0]])[0], model.predict([ROWS[row or 0]])[0]]
    np.testing.assert_allclose([number for _, number in lines], expected, rtol=1e-4)
    assert "through exp" in stdout
    for line, f in zip(stdout.splitlines()[2:], order, strict=False):
        left, _, right = re.sub(r"[-+][\d.e-]+$", "", line).partition("│")
        assert bool(re.search("[█▐]", left)) <= (phis[f] < 0)
        assert bool(re.search("[█▌]", right)) <= (phis[f] > 0)
    shown = {"price": "= missing", "store": '= "north"'} if row == 1 else {"store": '= "süd"', "size": "= 20"}
    for name, value in shown.items():
        assert re.search(rf"^{name} +{value}", stdout, re.MULTILINE)


def test_the_rest_is_one_sum(capsys, bundle, rows):
    _, stdout, _ = run(capsys, "explain", bundle, rows, "--top", 2)
    lines = lines_of(stdout)
    assert [name for name, _ in lines][3] == "5 other features"
    numbers = [number for _, number in lines]
    assert sum(numbers[:4]) == pytest.approx(numbers[4], abs=1e-4)
    assert "1 other feature " in run(capsys, "explain", bundle, rows, "--top", 6)[1]


def test_json_is_the_servers_explanation_of_each_row(capsys, bundle, classes, rows):
    for path in (bundle, classes):
        model = mlrf.load(path)
        writer = ExplanationWriter(model.schema.names, model.engine.base, model.classes)
        for top in (None, 3):
            options = [] if top is None else ["--top", top]
            status, stdout, _ = run(capsys, "explain", path, rows, "--json", *options)
            assert status == 0
            answers = [json.loads(line) for line in stdout.splitlines()]
            assert len(answers) == 3
            margins = model.margin(ROWS).reshape(3, -1).tolist()
            contributions = model.explain(ROWS).values.reshape(3, -1).tolist()
            for found, *explanation in zip(answers, margins, contributions, strict=True):
                assert found == json.loads(writer.write(*explanation, top or True)[0])
            alone = json.loads(run(capsys, "explain", path, rows, "--json", "--row", 1, *options)[1])
            # To rounding: a batch adds in another order than one row does.
            assert _flat(alone) == pytest.approx(_flat(answers[1]), rel=1e-9, abs=1e-12)


def _flat(document, path=""):
    """Every number of a document by its place, in order; texts are places."""
    if isinstance(document, dict):
        return {k: v for name, part in document.items() for k, v in _flat(part, f"{path}/{name}").items()}
    if isinstance(document, list):
        return {k: v for index, part in enumerate(document) for k, v in _flat(part, f"{path}/{index}").items()}
    return {path: document} if isinstance(document, float) else {f"{path}={document}": 0.0}


def test_explains_the_predicted_class_by_default(capsys, classes, rows):
    model = mlrf.load(classes)
    margins = model.margin(ROWS[:1])[0]
    predicted = int(np.argmax(margins))
    labels = ["a", "2", "c"]
    status, stdout, _ = run(capsys, "explain", classes, rows)
    assert status == 0
    assert f"predicted class {labels[predicted]}" in stdout.splitlines()[0]
    assert dict(lines_of(stdout))["margin"] == pytest.approx(margins[predicted], rel=1e-5)
    other = (predicted + 1) % 3
    _, stdout, _ = run(capsys, "explain", classes, rows, "--class", labels[other])
    assert f"predicted class {labels[predicted]}; explained class {labels[other]}" in stdout.splitlines()[0]
    values = dict(lines_of(stdout))
    assert values["margin"] == pytest.approx(margins[other], rel=1e-5)
    assert values["base"] == pytest.approx(model.explain(ROWS[:1]).base[other], rel=1e-5)
    assert values["prediction"] == pytest.approx(model.predict(ROWS[:1])[0][other], rel=1e-5)


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["explain", "{bundle}", "absent.json"], 2, "absent.json"),
        (["explain", "{bundle}", "{rows}", "--row", "3"], 2, "there is no row 3"),
        (["explain", "{bundle}", "{rows}", "--row", "-1"], 2, "--row"),
        (["explain", "{bundle}", "{rows}", "--top", "0"], 2, "--top"),
        (["explain", "{bundle}", "{rows}", "--class", "a"], 2, "single output"),
        (["explain", "{classes}", "{rows}", "--class", "z"], 2, "not one of a, 2, c"),
        (["explain", "{classes}", "{rows}", "--class", "a", "--json"], 2, "--class"),
        (["explain", "{bundle}", "{rows}", "--unknown-categories", "guess"], 2, "guess"),
        (["explain", "{stumps}", "{rows}"], 1, "cannot explain"),
        (["explain", "{stumps}", "{rows}", "--json"], 1, "cannot explain"),
        (["explain", "nowhere", "{rows}"], 3, "not a directory"),
        (["bench", "nowhere"], 3, "not a directory"),
        (["bench", "{bundle}", "--rows", "3"], 2, "--rows"),
    ],
)
def test_what_goes_wrong_is_a_sentence_and_a_status(capsys, arguments, status, message, bundle, classes, stumps, rows):
    paths = {"bundle": bundle, "classes": classes, "stumps": stumps, "rows": rows}
    got, out, error = run(capsys, *[argument.format(**paths) for argument in arguments])
    assert (got, out) == (status, "")
    assert message in error
    assert "Traceback" not in error


def test_a_bad_value_is_named_by_row_feature_and_value(capsys, bundle, tmp_path):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([ROWS[0], ROWS[1] | {"store": "west"}]))
    status, _, error = run(capsys, "explain", bundle, path)
    assert status == 1
    for part in ("row 1", "store", '"west"'):
        assert part in error
    assert run(capsys, "explain", bundle, path, "--row", 1, "--unknown-categories", "missing")[0] == 0


def test_no_rows_give_no_lines(capsys, bundle, tmp_path):
    path = tmp_path / "rows.json"
    path.write_text("[]")
    assert run(capsys, "explain", bundle, path)[:2] == (0, "")
    assert run(capsys, "explain", bundle, path, "--json")[:2] == (0, "")


def test_names_are_escaped_for_the_terminal():
    odd = {"\x1b[31mred\nline": 1.0, "[bold]x[/bold]": "v" * 99, "n" * 99: None}
    explanation = RowContributions(0.0, [1.0, -0.5, 0.0], 0.5, odd, prediction=0.5)
    from rich.console import Console  # noqa: PLC0415

    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(waterfall(explanation, 3, 100))
        text = console.export_text()
    assert "\x1b" not in text
    assert "[bold]x[/bold]" in text
    assert len(text.splitlines()) == 6
    assert max(map(len, text.splitlines())) <= 100


def test_bench_shows_the_engines_side_by_side(capsys, bundle):
    status, stdout, error = run(capsys, "bench", bundle, "--rows", 200, "--json")
    assert (status, error) == (0, ""), "progress bars are for terminals"
    document = json.loads(stdout)
    assert document["rows"] == {"count": 200, "from": "generated from the schema"}
    assert set(document["machine"]) == {"processor", "system", "python", "libraries"}
    assert set(document["machine"]["libraries"]) == {"mlrf", "numpy", "onnxruntime"}
    assert list(document["engines"]) == ["trees", "onnxruntime"]
    for name, figures in document["engines"].items():
        assert list(figures) == [key for key, _, _ in FIGURES]
        can_explain = name == "trees"
        assert (figures.pop("explain_one_row_us") is not None) == can_explain
        assert all(0 < value < 1e6 for value in figures.values())
    # An engine's own figures in its own column: opening an ONNX model takes milliseconds, mapping a file does not.
    assert document["engines"]["trees"]["open_ms"] < document["engines"]["onnxruntime"]["open_ms"]


def test_bench_for_a_person_and_of_one_engine(capsys, stumps):
    status, stdout, _ = run(capsys, "bench", stumps, "--rows", 100)
    assert status == 0
    for text in ("stumps", "onnxruntime", "one row", "100 rows, each", "Python", "explain one row"):
        assert text in stdout
    assert "trees " not in stdout.splitlines()[3]


def test_rows_generated_from_a_schema_are_valid_and_stable(bundle):
    found = read_bundle(bundle)
    table, _ = rows_for(found, 500)
    np.testing.assert_array_equal(table, rows_for(found, 500)[0])
    assert table.shape == (500, 7)
    for column, feature in zip(table.T, found.schema.features, strict=True):
        present = column[~np.isnan(column)]
        assert (len(present) < 500) == feature.nullable
        assert len(np.unique(present)) > 1
        if feature.kind is not Kind.NUMERIC:
            assert (present == np.floor(present)).all()
        if feature.categories is not None:
            assert set(present) <= set(range(len(feature.categories)))


def test_only_the_figures_that_are_requested_are_measured(bundle):
    found = read_bundle(bundle)
    table, _ = rows_for(found, 100)
    (figures,) = time_engines(found, ["trees"], table, lambda _: None, turns=1, keys=["one_row_us"]).values()
    assert list(figures) == ["one_row_us"]


def test_rows_to_time_take_a_bounded_size(bundle, monkeypatch):
    monkeypatch.setattr(engine_timing, "_MAX_BYTES", 1 << 20)
    table, _ = rows_for(read_bundle(bundle), 10**15)
    assert 100 < len(table) == (1 << 20) // (8 * 7)
    monkeypatch.setattr(engine_timing, "_MAX_BYTES", 1)
    assert len(rows_for(read_bundle(bundle), 10**15)[0]) == 100
    assert len(single_rows(np.zeros((1000, 7)))) == 1000
    assert len(single_rows(np.zeros((1000, 20_000)))) == 52
    assert len(single_rows(np.zeros((2, 2_000_000)))) == 1


@pytest.mark.parametrize("ending", ["csv", "json"])
def test_a_file_that_does_not_fit_into_memory_is_refused_unread(bundle, tmp_path, ending):
    rows = tmp_path / f"rows.{ending}"
    with rows.open("wb") as file:
        file.truncate(1 << 40)
    done = subprocess.run(
        [*MLRF, "explain", bundle, rows], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 2
    assert re.fullmatch(
        rf"mlrf: {rows}: its rows take at least 3,145,728 MiB of memory, but [\d,]+ MiB are available; "
        r"`mlrf score --explain all` explains files of any size\n",
        done.stderr,
    )


def test_the_rows_of_parquet_are_counted_before_they_are_read(bundle, tmp_path, monkeypatch, capsys):
    rows = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS * 40_000), rows)
    monkeypatch.setattr("mlrf.cli.rows_memory.available_bytes", lambda: 4 << 20)
    assert main(["explain", str(bundle), str(rows)]) == 2
    assert "its rows take at least 6 MiB of memory, but 4 MiB are available" in capsys.readouterr().err

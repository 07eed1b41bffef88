"""Each error that advises an option or a command: run as advised, the command no longer fails for the same reason."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightgbm as lgb
import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from onnx import TensorProto, helper

from advice import PACKAGE, advising_options
from bundles import NUMBERS, write_bundle, write_tree_bundle
from certificates import make_certificate
from mlrf.cli import explain, keyed_files, main
from mlrf.core.feature import Feature
from mlrf.core.schema import Schema

FOLDERS = ("cli", "core", "builder", "scoring", "features", "deploy", "signing", "engines", "model", "serving")
World = SimpleNamespace
Case = Callable[[World], tuple[list[Any], list[Any]]]
"""Makes the arguments of a command that fails with the message, and the arguments that the message advises."""


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bundle = write_tree_bundle(tmp_path / "sales", name="sales", schema=NUMBERS)
    rows = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"id": [1, 2], "x0": [0.5, 1.5], "x1": [0.5, 0.5], "x2": [0.5, 0.5]}), rows)
    (tmp_path / "rows.json").write_text('[{"x0": 1, "x1": 1, "x2": 1}, {"x0": 2, "x1": 1, "x2": 1}]')
    return World(path=tmp_path, bundle=bundle, rows=rows, json=tmp_path / "rows.json", patch=monkeypatch)


def text_model(world: World) -> Path:
    path = world.path / "model.txt"
    if not path.exists():
        table = np.random.default_rng(0).normal(size=(60, 3))
        settings = {"verbose": -1, "num_threads": 1, "min_data_in_leaf": 5}
        data = lgb.Dataset(table, table.sum(axis=1), feature_name=["x0", "x1", "x2"])
        lgb.train(settings, data, 3).save_model(path)
    return path


def groups(world: World) -> Path:
    path = world.path / "groups.json"
    path.write_text('{"outer": ["x0", "x1"]}', encoding="utf-8")
    return path


def build(world: World, model: Path, *options: Any) -> list[Any]:
    return ["build", model, "-o", world.path / "out", "--name", "m", *options]


def keyed(world: World) -> Path:
    return write_bundle(world.path / "keyed", schema=NUMBERS, key={"id": "integer"})


def published(world: World) -> Path:
    assert main(["publish", str(world.bundle), str(world.path / "models")]) == 0
    return world.path / "models"


def other_schema(world: World) -> Path:
    return write_tree_bundle(world.path / "other", name="sales", schema=Schema((Feature("y0"),)))


def graph(
    world: World, *nodes: onnx.NodeProto, outputs: dict[str, tuple[int, list[Any]]], **inputs: tuple[int, list[Any]]
) -> Path:
    """An ONNX file of these nodes."""
    made = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info(name, *each) for name, each in inputs.items()],
        [helper.make_tensor_value_info(name, *each) for name, each in outputs.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (world.path / "model.onnx").write_bytes(model.SerializeToString())
    return world.path / "model.onnx"


FLOAT = TensorProto.FLOAT


def relu(world: World, width: Any, operator: str = "Relu") -> Path:
    node = helper.make_node(operator, ["x"], ["y"])
    return graph(world, node, outputs={"y": (FLOAT, ["n", width])}, x=(FLOAT, ["n", width]))


def far_only(world: World) -> Path:
    """The logarithm of how far a number is beyond a million: NaN for typical rows."""
    nodes = [
        helper.make_node("Constant", [], ["million"], value_float=1e6),
        helper.make_node("Sub", ["x0", "million"], ["beyond"]),
        helper.make_node("Log", ["beyond"], ["y"]),
    ]
    return graph(world, *nodes, outputs={"y": (FLOAT, ["n", 1])}, x0=(FLOAT, ["n", 1]))


def far_rows(world: World) -> Path:
    path = world.path / "far.parquet"
    pq.write_table(pa.table({"x0": [2e6 + i for i in range(50)]}), path)
    return path


def labels(world: World) -> Path:
    """Labels and numbers, without a list of labels."""
    nodes = [helper.make_node("ArgMax", ["x"], ["label"], axis=1, keepdims=0), helper.make_node("Softmax", ["x"], ["y"]),
             helper.make_node("Neg", ["y"], ["z"]), helper.make_node("Neg", ["z"], ["scores"])]  # fmt: skip
    outputs = {"label": (TensorProto.INT64, ["n"]), "scores": (FLOAT, ["n", 3])}
    return graph(world, *nodes, outputs=outputs, x=(FLOAT, ["n", 3]))


def pickled(world: World) -> Path:
    (world.path / "m.pkl").write_bytes(pickle.dumps(lgb.Booster(model_file=text_model(world))))
    return world.path / "m.pkl"


def scored(world: World, *more: Any) -> list[Any]:
    return ["score", world.bundle, world.rows, "--out", world.path / "scores", *more]


def exists(world: World, name: str) -> Path:
    (world.path / name).mkdir(exist_ok=True)
    (world.path / name / "file").write_text("of another program")
    return world.path / name


def of_another_job(world: World) -> None:
    assert main([str(each) for each in scored(world)]) == 0
    (world.path / "rows2.parquet").write_bytes(world.rows.read_bytes())


def many_rows(world: World) -> list[Any]:
    world.patch.setattr(explain, "MOST_ROWS", 1)
    return ["explain", world.bundle, world.json, "--html", world.path / "page.html"]


def big_push(world: World) -> tuple[list[Any], list[Any]]:
    world.patch.setattr(keyed_files, "MAX_PUSHED_ROWS", 1)
    where = ["--state-dir", world.path / "state"]
    return ["features", "push", keyed(world), world.rows, *where], [
        "features",
        "load",
        world.path / "keyed",
        world.rows,
        *where,
    ]


def short_rows(world: World) -> Path:
    """Rows by key that lack a feature."""
    pq.write_table(pa.table({"id": [1], "x0": [0.5], "x1": [0.5]}), world.path / "short.parquet")
    return world.path / "short.parquet"


def partial(world: World) -> tuple[list[Any], list[Any]]:
    load = ["features", "load", keyed(world), short_rows(world), "--state-dir", world.path / "state"]
    return load, [*load, "--partial"]


def two_of_a_name(world: World) -> tuple[list[Any], list[Any]]:
    write_tree_bundle(world.path / "again" / "sales", name="sales", schema=NUMBERS)
    write_tree_bundle(world.path / "again" / "other", name="other", schema=NUMBERS)
    serve = ["serve", world.bundle, "--print-config"]
    return [*serve, world.path / "again" / "sales"], [*serve, world.path / "again" / "other"]


def keys(world: World) -> Path:
    (world.path / "keys").write_text("")
    return world.path / "keys"


def certificate(world: World) -> list[Any]:
    cert, key = make_certificate(world.path, "first")
    return serve(world, "--tls-cert", cert, "--tls-key", key)


def deploy(world: World, out: Path) -> list[Any]:
    return ["deploy", "kubernetes", "--name", "sales", "--image", "registry/sales:1", "--out", out]


def serve(world: World, *options: Any) -> list[Any]:
    return ["serve", world.bundle, "--print-config", *options]


QUICK: dict[str, Case] = {
    "--key is missing; name": lambda w: (
        build(w, text_model(w), "--features", w.rows),
        build(w, w.path / "none.txt", "--features", w.rows, "--key", "id"),
    ),
    "applies to the rows of --features": lambda w: (
        build(w, text_model(w), "--key", "id:integer", "--partial"),
        build(w, w.path / "none.txt", "--key", "id:integer", "--partial", "--features", w.rows),
    ),
    "the rows to explain are those of --rows; give": lambda w: (
        ["diff", w.bundle, w.bundle, "--fail-above", "contributions=1"],
        ["diff", w.bundle, w.bundle, "--fail-above", "contributions=1", "--rows", w.rows],
    ),
    "it names a column of --rows; give --rows too": lambda w: (
        ["diff", w.bundle, w.bundle, "--label", "x0"],
        ["diff", w.bundle, w.bundle, "--label", "x0", "--rows", w.rows],
    ),
    "the file must end in .html, and": lambda w: (
        ["explain", w.bundle, w.json, "--html", w.path / "page.html", "--json"],
        ["explain", w.bundle, w.json, "--html", w.path / "page.html"],
    ),
    "--interactions: the page of --html does not show them": lambda w: (
        ["explain", w.bundle, w.json, "--html", w.path / "page.html", "--interactions", "2"],
        ["explain", w.bundle, w.json, "--html", w.path / "page.html"],
    ),
    "--interactions: they are path-dependent, of features": lambda w: (
        ["explain", w.bundle, w.json, "--interactions", "2", "--background", w.json],
        ["explain", w.bundle, w.json, "--interactions", "2"],
    ),
    "--stored-{}: --{} gives other {}": lambda w: (
        ["explain", w.bundle, w.json, "--stored-background", "--background", w.json],
        ["explain", w.bundle, w.json, "--background", w.json],
    ),
    "gives other {}; leave one of the two out": lambda w: (
        ["explain", w.bundle, w.json, "--stored-groups", "--groups", groups(w)],
        ["explain", w.bundle, w.json, "--groups", groups(w)],
    ),
    "--json and --out contain every class": lambda w: (
        ["explain", w.bundle, w.json, "--class", "a", "--json"],
        ["explain", w.bundle, w.json, "--json"],
    ),
    "choose one with --row": lambda w: (many_rows(w), [*many_rows(w), "--row", "1"]),
    "use `mlrf features load` instead": big_push,
    "give --partial": partial,
    "it needs --add": lambda w: (
        ["keys", keys(w), "--scope", "predict"],
        ["keys", w.path / "keys", "--add", "me", "--scope", "predict"],
    ),
    "--unknown-categories is `refuse`": lambda w: (
        ["predict", w.bundle, w.json, "--unknown-categories", "x"],
        ["predict", w.bundle, w.json, "--unknown-categories", "missing"],
    ),
    "make one with `mlrf build`": lambda w: (["inspect", exists(w, "empty")], ["inspect", w.bundle]),
    "allow it with --allow-schema-change": lambda w: (
        ["publish", other_schema(w), published(w)],
        ["publish", w.path / "other", w.path / "models", "--allow-schema-change"],
    ),
    "--force moves a tag": lambda w: (
        ["publish", w.bundle, w.path / "models", "--force"],
        ["publish", w.bundle, w.path / "models"],
    ),
    "name one with --to": lambda w: (
        ["rollback", published(w) / "sales"],
        ["rollback", w.path / "models" / "sales", "--to", "1"],
    ),
    "name another one with --out": lambda w: (
        deploy(w, exists(w, "taken")),
        deploy(w, w.path / "free"),
    ),
    "contains files that `mlrf score`": lambda w: (
        [*scored(w)[:-1], exists(w, "taken")],
        [*scored(w)[:-1], w.path / "free"],
    ),
    "is an input inside the output directory": lambda w: (
        [*scored(w)[:-1], w.path],
        [*scored(w)[:-1], w.path / "free"],
    ),
    "--restart to delete it": lambda w: (
        [*[of_another_job(w), *scored(w)][1:3], "rows2.parquet", *scored(w)[3:]],
        [*scored(w)[:2], "rows2.parquet", *scored(w)[3:], "--restart"],
    ),
    "--keep-all: it copies every column": lambda w: (scored(w, "--keep-all", "--keep", "id"), scored(w, "--keep-all")),
    "is not a job file that": lambda w: (
        [(w.path / "scores").mkdir() or (w.path / "scores" / "_job.json").write_text("?"), *scored(w)][1:],
        [*scored(w)[:-1], w.path / "free"],
    ),
    "must be given together": lambda w: (serve(w, "--tls-cert", w.json), certificate(w)),
    "give one with --model-name": lambda w: (
        ["serve", text_model(w), "--build-at-start", "--print-config"],
        ["serve", text_model(w), "--build-at-start", "--print-config", "--model-name", "m"],
    ),
    "needs --cache above 0": lambda w: (
        serve(w, "--shared-cache", "redis://h/0", "--cache", "0"),
        serve(w, "--shared-cache", "redis://h/0", "--cache", "64MiB"),
    ),
    "is not signed; use one of them": lambda w: (
        [
            "serve",
            text_model(w),
            "--print-config",
            "--model-name",
            "m",
            "--build-at-start",
            "--require-signature",
            w.json,
        ],
        ["serve", text_model(w), "--print-config", "--model-name", "m", "--build-at-start"],
    ),
    "it needs --grpc-port": lambda w: (
        serve(w, "--grpc-host", "127.0.0.1"),
        serve(w, "--grpc-host", "127.0.0.1", "--grpc-port", "0"),
    ),
    "is in use by --port; choose": lambda w: (
        serve(w, "--port", "7001", "--grpc-port", "7001"),
        serve(w, "--port", "7001", "--grpc-port", "7002"),
    ),
    "build one of them under another --name": two_of_a_name,
}
"""By a part of the message, which names one message of the source."""

SLOW: dict[str, Case] = {
    "has no {}; build it again with --{}": lambda w: (
        ["explain", w.bundle, w.json, "--stored-background"],
        build(w, text_model(w), "--background", w.rows),
    ),
    "build it again with --{}, or explain without": lambda w: (
        ["explain", w.bundle, w.json, "--stored-groups"],
        build(w, text_model(w), "--groups", groups(w)),
    ),
    "replace it with --force": lambda w: (
        build(w, text_model(w), "-o", w.bundle),
        build(w, text_model(w), "-o", w.bundle, "--force"),
    ),
    "so --force does not replace it": lambda w: (
        build(w, text_model(w), "-o", exists(w, "taken"), "--force"),
        build(w, text_model(w), "-o", w.path / "free", "--force"),
    ),
    "allow it with --allow-pickle": lambda w: (build(w, pickled(w)), build(w, pickled(w), "--allow-pickle")),
    "without --features its type must be given": lambda w: (
        build(w, text_model(w), "--key", "id"),
        build(w, text_model(w), "--key", "id:integer"),
    ),
    "name them: --feature-names": lambda w: (
        build(w, relu(w, "width")),
        build(w, relu(w, "width"), "--feature-names", "a,b,c"),
    ),
    "list the labels in the order of the numbers": lambda w: (
        build(w, labels(w)),
        build(w, labels(w), "--classes", "a,b,c"),
    ),
    "are not probabilities, so they determine no class": lambda w: (
        build(w, relu(w, 3), "--task", "multiclass"),
        build(w, relu(w, 3), "--task", "raw"),
    ),
    "or leave --explain out": lambda w: (
        build(w, text_model(w), "--features", short_rows(w), "--key", "id", "--partial", "--explain"),
        build(w, text_model(w), "--features", short_rows(w), "--key", "id", "--partial"),
    ),
    "gave no finite answer for any row": lambda w: (
        build(w, far_only(w)),
        build(w, far_only(w), "--sample", far_rows(w)),
    ),
    "is not served by key; build it with --key": lambda w: (
        ["features", "stats", w.bundle, "--state-dir", w.path / "state"],
        build(w, text_model(w), "--key", "id:integer"),
    ),
}

ELSEWHERE = {
    "send it to the address given by --admin": "wire/test_access.py::test_admin_port_takes_no_request_of_a_web_page",
    "another job writes to it too": "unit/scoring/test_remote_output.py::test_of_two_jobs_at_once_one_stops_before_its_manifest",
    "choose an address without any": "unit/scoring/test_remote_output.py::test_foreign_objects_are_refused_and_left",
    "is an object, not a folder": "unit/scoring/test_remote_output.py::test_an_address_that_is_an_object_is_refused",
    "which nothing may be added to": "unit/scoring/test_refused_arguments.py::test_an_output_inside_the_bundle_is_refused",
    "no model could be fetched within": "ops/test_model_stores.py::test_a_store_that_comes_late_is_waited_for",
    "name them with --categories, or give rows": "parity/test_catboost_ctr.py::test_feature_used_only_in_combinations_needs_names",
    "unclear which list belongs": "unit/builder/importers/lightgbm/test_text.py::test_category_lists_are_held_to_the_model",
    "the file does not list its values": "parity/test_onnx_graphs.py::test_caller_lists_strings_that_the_file_lacks",
    "serve only its numbers with --task raw": "parity/test_onnx_graphs.py::test_the_votes_of_support_vectors_are_served_as_numbers",
    "which cannot be read from the model": "parity/test_xgboost_models.py::test_categories_beyond_ascii_are_completed_by_what_fits",
    "or list {} labels with --classes": "unit/builder/test_build.py::test_a_classifier_of_one_class_needs_labels",
    "contains none of the feature's categories": "unit/builder/test_build.py::test_invalid_sample_is_refused_leaving_nothing",
    "publish one with `mlrf publish`": "unit/cli/test_remedies_of_calls.py::test_a_published_version_fills_an_empty_model_directory",
    "(`mlrf inspect` says why)": "unit/cli/test_remedies_of_calls.py::test_without_an_onnx_model_the_engine_advised_serves",
    "or build it with them (classes=": "unit/cli/test_remedies_of_calls.py::test_labels_given_or_built_make_an_estimator",
    "build it again with --sample": "parity/test_onnx_files.py::test_explanations_need_covers",
    "run the command again with --restart": "unit/scoring/test_score.py::test_input_changed_during_scoring_is_refused",
    "move it away, or choose another --out": "unit/cli/test_remedies_of_calls.py::test_a_foreign_part_is_moved_away_or_another_out_chosen",
    "exists and is not a file of this job": "unit/cli/test_remedies_of_calls.py::test_a_foreign_file_at_the_output_needs_another_name",
    "a model of a repository cannot be named": "unit/cli/test_repository_arguments.py::test_repository_of_several_models_is_not_a_model",
    "drop it, or start the server with --unknown-features": "wire/test_option_remedies.py::test_a_server_with_the_advised_option_answers",
    "the stream holds {} rows or more": "wire/test_option_remedies.py::test_a_server_with_the_advised_option_answers",
    "but the server has no keys": "wire/test_option_remedies.py::test_admin_requests_are_answered_at_the_address_advised",
    "to localhost or an IP address only": "wire/test_access.py::test_admin_port_takes_no_request_of_a_web_page",
    "`mlrf keys` writes them": "unit/cli/test_remedies_of_calls.py::test_a_key_file_is_read_once_the_command_wrote_it",
    "put the bundle into the image": "unit/cli/test_image.py::test_an_image_context_holds_the_bundle_readable_by_all",
    "send the request to {}{}, or start": "wire/test_option_remedies.py::test_without_a_default_a_model_is_named_or_made_it",
    "build its bundle with --features and --key": "wire/test_option_remedies.py::test_a_bundle_built_with_rows_takes_a_push",
    "the batch contains about {} values": "wire/test_option_remedies.py::test_a_server_with_the_advised_option_answers",
    "the batch contains {} instances": "wire/test_option_remedies.py::test_a_server_with_the_advised_option_answers",
    'send "features", or build the bundle': "wire/test_option_remedies.py::test_a_server_with_the_advised_option_answers",
    "the CSV needs a header": "wire/test_option_remedies.py::test_a_server_with_the_advised_option_answers",
    "publish it to a repository with `mlrf publish`": "wire/test_option_remedies.py::test_an_unknown_version_of_a_bundle_is_loaded_once_published",
    "sign the bundle with `mlrf sign`": "unit/cli/test_sign.py::test_publish_and_rollback_ask_for_a_signature",
}
"""Messages whose remedies need more than a command, and the test that follows each."""


def printed(capsys, arguments) -> tuple[int, str]:
    status = main([str(each) for each in arguments])
    return status, capsys.readouterr().err.replace("\n", " ")


def follow(capsys, world, part, case):
    message = next(text for text in advising_options(*FOLDERS) if part in text)
    pattern = re.compile(".*".join(map(re.escape, message.split("{}"))), re.DOTALL)
    failing, advised = case(world)
    status, printed_text = printed(capsys, failing)
    assert status in (1, 2, 3)
    assert pattern.search(printed_text), printed_text
    status, printed_text = printed(capsys, advised)
    assert not pattern.search(printed_text)
    assert status == 0 or "none.txt" in printed_text, printed_text


@pytest.mark.parametrize("part", QUICK)
def test_what_a_message_advises_works(capsys, world, part):
    follow(capsys, world, part, QUICK[part])


@pytest.mark.slow
@pytest.mark.parametrize("part", SLOW)
def test_what_a_build_advises_works(capsys, world, part):
    follow(capsys, world, part, SLOW[part])


def test_every_message_that_advises_an_option_is_followed():
    found = advising_options(*FOLDERS)
    parts = [*QUICK, *SLOW, *ELSEWHERE]
    assert {part: n for part in parts if (n := sum(part in text for text in found)) != 1} == {}
    assert {text: path for text, path in found.items() if not any(part in text for part in parts)} == {}


def test_messages_followed_elsewhere_name_their_tests():
    tests = PACKAGE.parents[1] / "tests"
    named = [test.split("::") for test in ELSEWHERE.values()]
    assert [name for path, name in named if f"def {name}(" not in (tests / path).read_text()] == []

"""Every remedy in an error about a row works when it is followed."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import mlrf
from bundles import ALL_KINDS, write_tree_bundle
from mlrf.cli import main
from mlrf.core.errors import InvalidRequestError
from mlrf.core.feature import Category, Feature, Kind
from mlrf.core.leniency import Leniency
from mlrf.core.schema import Schema

SCHEMA = Schema(
    (
        *ALL_KINDS.features,
        Feature("shop", Kind.CATEGORICAL, ("a", "b"), nullable=False, example="a"),
        Feature("level", Kind.INTEGER, nullable=False, example=1),
        Feature("open", Kind.BOOLEAN, nullable=False, example=True),
    )
)
EXAMPLE = SCHEMA.example()
BAD: dict[Kind, list[object]] = {
    Kind.NUMERIC: ["x", True, [], None],
    Kind.INTEGER: [0.5, "x", None],
    Kind.BOOLEAN: ["x", 3, None],
    Kind.CATEGORICAL: ["unknown", 99.5, [], None],
}
INSTANCES = [EXAMPLE | {feature.name: value} for feature in SCHEMA.features for value in BAD[feature.kind]]
INSTANCES += [{name: value for name, value in EXAMPLE.items() if name != gone} for gone in SCHEMA.names]
INSTANCES += [EXAMPLE | {"more": 1}]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_tree_bundle(tmp_path_factory.mktemp("remedies") / "b", schema=SCHEMA)


def refused(ask) -> InvalidRequestError | None:
    try:
        ask()
    except InvalidRequestError as error:
        return error
    return None


@pytest.mark.parametrize("instance", INSTANCES, ids=str)
def test_what_a_server_advises_works(instance):
    error = refused(lambda: SCHEMA.row(instance))
    if error is None:
        return
    message, feature = str(error), error.details["feature"]
    known: dict[str, Category | None] = {name: value for name, value in instance.items() if name != "more"}
    advised = 0
    if "null" in message.partition("; ")[2]:
        advised += 1
        assert refused(lambda: SCHEMA.row(known | {feature: None})) is None
    if '"unknown_categories": "missing"' in message:
        advised += 1
        assert refused(lambda: SCHEMA.row(instance, Leniency(unknown_categories="missing"))) is None
    if "--unknown-features ignore" in message:
        advised += 1
        assert refused(lambda: SCHEMA.row(instance, Leniency("ignore"))) is None
    if "send a known one" in message or "send every feature" in message:
        advised += 1
        assert refused(lambda: SCHEMA.row(known | {feature: EXAMPLE[feature]})) is None
    nullable = {each.name: each.nullable for each in SCHEMA.features}
    assert advised or not nullable[feature]


@pytest.mark.parametrize("instance", INSTANCES, ids=str)
def test_what_python_is_advised_works(instance, bundle):
    model = mlrf.load(bundle)
    error = refused(lambda: model.predict([instance]))
    if error is None:
        return
    message, feature = str(error), error.details["feature"]
    known = {name: value for name, value in instance.items() if name != "more"}
    assert "--" not in message
    assert "GET /" not in message
    if "None" in message.partition("; ")[2]:
        for missing in (None, math.nan, np.float64("nan")):
            assert refused(lambda missing=missing: model.predict([known | {feature: missing}])) is None
    if 'unknown_categories="missing"' in message:
        assert refused(lambda: model.predict([instance], unknown_categories="missing")) is None
    if 'unknown_features="ignore"' in message:
        assert refused(lambda: model.predict([instance], unknown_features="ignore")) is None


@pytest.mark.parametrize("instance", [each for each in INSTANCES if "more" not in each], ids=str)
def test_what_the_command_line_advises_works(instance, bundle, capsys, tmp_path):
    def predict(row, *options):
        (tmp_path / "rows.json").write_text(json.dumps([row]))
        status = main(["predict", str(bundle), str(tmp_path / "rows.json"), *options])
        return status, capsys.readouterr().err

    status, stderr = predict(instance)
    if not status:
        return
    assert "GET /" not in stderr
    names = [name for name in SCHEMA.names if repr(name) in stderr]
    if "null" in stderr.partition("; ")[2]:
        assert predict(instance | {names[0]: None})[0] == 0
    if "--unknown-categories missing" in stderr:
        assert predict(instance, "--unknown-categories", "missing")[0] == 0

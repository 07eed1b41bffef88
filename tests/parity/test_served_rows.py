"""Invariant 1 from end to end: 100,000 generated rows an objective, over HTTP, against LightGBM's own answers."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from bundles import write_bundle
from mlrf.builder.importers.detect import import_model
from mlrf.core.feature import Feature, Kind
from mlrf.core.manifest import LinkEntry
from mlrf.core.schema import Schema
from models import data, train
from running import serving
from test_generated_rows import columns, generated, missing, options

ROWS_A_REQUEST = 5_000
REQUESTS_A_MODEL = 3


@pytest.mark.parametrize(
    ("objective", "n_models"),
    [
        ("regression", 2),
        *(pytest.param(each, 7, marks=pytest.mark.slow) for each in ("regression", "poisson", "binary", "multiclass")),
    ],
)
def test_every_served_row_is_answered_as_lightgbm_does(objective, n_models):
    answered = []

    @settings(
        max_examples=n_models, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(columns, options, missing)
    def check(described, tuned, rule):
        described = described | {"levels": (*described["levels"], 33)}
        trained = data(**described)
        booster = train(objective, trained, rounds=15, **tuned, **rule)
        model = import_model(booster)
        schema = schema_of(trained)
        rows = sendable(generated(trained.rows, described["seed"], ROWS_A_REQUEST * REQUESTS_A_MODEL), schema)
        margins = np.asarray(booster.predict(rows, raw_score=True)).reshape(len(rows), -1)
        expected = np.asarray(booster.predict(rows)).reshape(margins.shape)
        n_outputs = margins.shape[1]
        with tempfile.TemporaryDirectory() as folder:
            bundle = write_bundle(
                Path(folder) / "b",
                schema=schema,
                link=LinkEntry(model.link.kind, model.link.scale),
                n_outputs=n_outputs,
                forest=model.forest,
            )
            served = np.array(ask(bundle, schema, rows)).reshape(margins.shape)
        # The link of LightGBM's margins: a bit's difference of a margin would be seen through it.
        if n_outputs > 1 or model.link.is_vector:
            linked = np.array([model.link.vector()(row) for row in margins.tolist()]).reshape(margins.shape)
        else:
            linked = np.array([[model.link.scalar()(row[0])] for row in margins.tolist()])
        assert np.array_equal(served, linked)
        np.testing.assert_allclose(served, expected, rtol=1e-12, atol=1e-300)
        answered.append(len(rows))

    check()
    assert sum(answered) >= n_models * ROWS_A_REQUEST * REQUESTS_A_MODEL


def schema_of(trained) -> Schema:
    """The first categorical column has a list of strings, others take any code."""
    first = trained.categorical[0]
    names = tuple(f"level {code}" for code in range(int(np.nanmax(trained.rows[:, first])) + 1))
    return Schema(
        tuple(
            Feature(f"x{i}", Kind.CATEGORICAL, names if i == first else None)
            if i in trained.categorical
            else Feature(f"x{i}")
            for i in range(trained.rows.shape[1])
        )
    )


def sendable(rows: np.ndarray, schema: Schema) -> np.ndarray:
    """The same rows as far as JSON can say them: no infinity, codes that are integers, and in the list if there is one."""
    rows = np.where(np.isinf(rows), np.nan, rows)
    for index, feature in enumerate(schema.features):
        if feature.kind is Kind.CATEGORICAL:
            codes = np.clip(np.floor(rows[:, index]), -(2.0**33), 2.0**33) + 0.0
            if feature.categories is not None:
                codes[(codes < 0) | (codes >= len(feature.categories))] = np.nan
            rows[:, index] = codes
    return rows


def ask(bundle, schema: Schema, rows: np.ndarray) -> list:
    """What a server of default settings answers, every second row by name and every other by position."""
    integral = [f.kind is Kind.CATEGORICAL for f in schema.features]
    predictions = []
    with serving(bundle, options=["--max-batch", str(ROWS_A_REQUEST)]) as server, server.client() as client:
        for begin in range(0, len(rows), ROWS_A_REQUEST):
            instances = []
            for index, row in enumerate(rows[begin : begin + ROWS_A_REQUEST].tolist()):
                values = [None if x != x else int(x) if i else x for x, i in zip(row, integral, strict=True)]  # noqa: PLR0124
                instances.append({"features": values if index % 2 else schema.instance(row)})
            answer = client.ask("POST", "/predict/batch", msgspec.json.encode({"instances": instances}))
            assert answer.status == 200, answer.body[:500]
            predictions += msgspec.json.decode(answer.body)["predictions"]
    return predictions

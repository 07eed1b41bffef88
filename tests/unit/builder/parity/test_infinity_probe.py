"""What a library does with infinities: read from its answers, and never assumed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mlrf.builder.parity.infinity_probe import infinity_rows, with_infinities
from mlrf.builder.parity.reference_process import run_in_parts
from mlrf.core.feature import Feature, Kind
from mlrf.core.infinities import Infinities, OnInfinity
from mlrf.core.schema import Schema

NUMBER, MISSING, REFUSED = OnInfinity.NUMBER, OnInfinity.MISSING, OnInfinity.REFUSED
SCHEMA = Schema((Feature("a"), Feature("b"), Feature("c", Kind.CATEGORICAL), Feature("d", Kind.INTEGER)))
BACKGROUNDS = np.arange(24.0).reshape(6, 4)


def found(library, *, is_single=False, engine=None):
    """The rules that a library's answers lead to; `library` returns a number a row, None where it refuses the table."""
    probe = infinity_rows(SCHEMA.features, BACKGROUNDS, is_single=is_single)
    answered, margins = run_in_parts(library, probe.rows)
    engine = engine or by_number

    def agrees(rows):
        return np.all(engine(rows) == margins, axis=1)

    return [f.infinities for f in with_infinities(SCHEMA, probe, answered, agrees, is_single=is_single).features]


def by_number(rows):
    return np.sum(np.where(np.isnan(rows), 100.0, rows > 3), axis=1)[:, None]


def refusing(is_refused):
    return lambda rows: None if is_refused(rows).any() else by_number(rows)


def test_a_library_that_compares_infinities_has_them_as_numbers():
    number = Infinities(NUMBER, NUMBER)
    assert found(by_number) == [number, number, Infinities(), number]


def test_library_refusing_infinities_is_tried_few_times():
    calls = []

    def library(rows):
        calls.append(len(rows))
        return None if np.isinf(rows).any() else by_number(rows)

    assert set(found(library)) == {Infinities()}
    assert len(calls) == 4  # all of them, and three alone


def test_one_sign_or_one_feature_may_be_refused():
    assert found(refusing(lambda rows: rows == -math.inf))[0] == Infinities(NUMBER, REFUSED)
    assert found(refusing(lambda rows: np.isinf(rows[:, :1])))[:2] == [Infinities(), Infinities(NUMBER, NUMBER)]


def test_a_library_that_replaces_infinities_by_missing_values():
    rules = found(lambda rows: by_number(np.where(np.isinf(rows), np.nan, rows)))
    assert rules[0] == Infinities(MISSING, MISSING)


def test_differing_engine_answers_are_refused():
    swapped = found(lambda rows: by_number(np.where(np.isinf(rows), np.where(rows > 0, 0.5, 5.0), rows)))
    assert swapped[0] == Infinities()
    some = found(lambda rows: by_number(np.where(rows == math.inf, 0.5, rows)))
    assert some[0] == Infinities(REFUSED, NUMBER)


def test_values_beyond_float32_are_infinite_only_if_equivalent():
    assert found(by_number, is_single=True)[0] == Infinities(NUMBER, NUMBER, from_float32=True)
    assert found(refusing(lambda rows: np.abs(rows) > 1e38), is_single=True)[0] == Infinities(from_float32=True)
    strange = found(refusing(lambda rows: (np.abs(rows) > 1e38) & np.isfinite(rows)), is_single=True)
    assert strange[0] == Infinities(from_float32=True)


@pytest.mark.parametrize("n_features", [1_000, 20_000])
def test_wide_model_is_probed_by_feature_groups(n_features):
    features = Schema(tuple(Feature(f"x{i}") for i in range(n_features)))
    probe = infinity_rows(features.features, np.zeros((6, n_features)), is_single=True)
    assert probe.rows.size <= 2_100_000
    everything = np.ones(len(probe.rows), np.bool_)
    schema = with_infinities(features, probe, everything, lambda _: everything, is_single=True)
    assert {f.infinities for f in schema.features} == {Infinities(NUMBER, NUMBER, from_float32=True)}

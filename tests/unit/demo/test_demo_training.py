"""Training: the hold-out lies after the training rows, the errors are what they say, and twice gives the same model."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mlrf.demo import request_rows
from mlrf.demo.daily_totals import sum_by_day
from mlrf.demo.feature_panel import make_panel
from mlrf.demo.training import HOLD_OUT_DAYS, measure, train


@pytest.fixture
def panel(lines):
    return make_panel(sum_by_day(lines, store_count=3))


def test_the_hold_out_is_the_last_weeks_and_is_not_trained_on(panel):
    grown: list[None] = []
    trained = train(panel, trees=4, on_tree=lambda: grown.append(None))
    assert len(grown) == trained.booster.num_trees() == 4
    assert trained.hold_out.day.max() == panel.day.max()
    assert trained.hold_out.day.min() == panel.day.max() - pd.Timedelta(days=HOLD_OUT_DAYS - 1)
    assert trained.training_rows + len(trained.predicted) == len(panel.revenue)
    later = panel.day > panel.day.max() - pd.Timedelta(days=HOLD_OUT_DAYS)
    panel.revenue[np.asarray(later)] *= 100
    assert train(panel, trees=4).booster.model_to_string() == trained.booster.model_to_string()


def test_the_baseline_is_the_same_weekday_last_week(panel):
    trained = train(panel, trees=2)
    hold_out = trained.hold_out
    assert trained.seasonal_naive == measure(hold_out.features["revenue_lag_7"].to_numpy(), hold_out.revenue)
    assert (trained.predicted > 0).all(), "tweedie's mean is positive"


def test_errors_by_hand():
    errors = measure(np.array([1.0, 5.0, 0.0]), np.array([2.0, 2.0, 0.0]))
    assert (errors.mae, errors.wape, errors.bias) == (pytest.approx(4 / 3), 1.0, 0.5)
    assert errors.rmse == pytest.approx(np.sqrt(10 / 3))


def test_rows_become_requests_in_both_forms(panel):
    features = panel.features
    missing = features["discount_share_7"].isna().to_numpy()
    assert missing.any()
    row = int(np.flatnonzero(missing)[0])
    named = request_rows.named_instances(features)[row]
    positional = request_rows.positional_instances(features)[row]
    assert list(named) == list(features)
    assert named["discount_share_7"] is None
    assert type(named["is_weekend"]) is bool
    assert type(named["store_id"]) is int
    assert type(named["department"]) is str
    assert positional[-2:] == [features["store_id"].cat.codes[row], features["department"].cat.codes[row]]
    assert positional[:-2] == list(named.values())[:-2]
    assert request_rows.predict_bodies([{"a": None, "b": True}, [1.5]]) == [
        b'{"features":{"a":null,"b":true}}',
        b'{"features":[1.5]}',
    ]


def test_examples_are_last_day_rows_chosen_by_past_sales(panel):
    chosen = request_rows.busiest_on_the_last_day(panel, 3)
    assert (panel.day[chosen] == panel.day.max()).all()
    assert panel.features["department"].iloc[chosen].is_unique
    panel.revenue[:] = 0
    assert request_rows.busiest_on_the_last_day(panel, 3).tolist() == chosen.tolist()

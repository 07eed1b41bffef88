"""The panel: its shape, its arithmetic against plain loops, and above all that no row contains data of its own day or a later one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mlrf.demo.daily_totals import Daily, sum_by_day
from mlrf.demo.feature_panel import WARM_UP_DAYS, Panel, make_panel

MONEY = ["revenue", "retail_discount", "coupon_discount", "lines", "discounted_lines", "baskets"]


@pytest.fixture
def daily(lines) -> Daily:
    return sum_by_day(lines, store_count=3)


def changed_from(daily: Daily, day: int) -> Daily:
    """Other figures in every table from `day` on; none is zero, so that every count and share moves too."""
    chance = np.random.default_rng(9)
    changed = {}
    for name in MONEY:
        table = getattr(daily, name).copy()
        table[:, day:] = chance.uniform(100, 200, table[:, day:].shape)
        changed[name] = table
    return replace(daily, **changed)


def features_up_to(panel: Panel, day: pd.Timestamp) -> pd.DataFrame:
    return panel.features[panel.day <= day].reset_index(drop=True)


def leaking(make: Callable[[Daily], Panel], daily: Daily, day: int) -> set[str]:
    """The features of rows up to and with `day` that change when `day` and all later days do."""
    stamp = daily.days[day]
    before, after = (features_up_to(make(each), stamp) for each in (daily, changed_from(daily, day)))
    assert len(before) == len(after) > 0, "which rows there are must not depend on their own day either"
    return {name for name in before if not before[name].equals(after[name])}


@pytest.mark.parametrize("day", [WARM_UP_DAYS, 35, 50, 149])
def test_no_feature_knows_its_own_day_or_a_later_one(daily, day):
    assert leaking(make_panel, daily, day) == set()


@pytest.mark.parametrize("reaches", [0, -1])
def test_the_leak_test_catches_a_feature_that_does(daily, reaches):
    def leaky(daily: Daily) -> Panel:
        panel = make_panel(daily)
        on_the_day = pd.DataFrame(daily.revenue.T, index=daily.days).shift(reaches)
        pairs = {pair: at for at, pair in enumerate(zip(daily.store, daily.department, strict=True))}
        at = [
            pairs[store, department]
            for store, department in zip(
                panel.features["store_id"].cat.codes, panel.features["department"].cat.codes, strict=True
            )
        ]
        panel.features["leak"] = on_the_day.to_numpy()[daily.days.get_indexer(panel.day), at]
        return panel

    assert leaking(leaky, daily, 50) == {"leak"}


def test_every_feature_but_calendar_and_names_follows_the_past(daily):
    """The other half of the leak test, which would always pass if the features did not change at all."""
    calendar_and_names = {
        "day_of_week",
        "day_of_month",
        "week_of_year",
        "month",
        "is_weekend",
        "store_id",
        "department",
    }
    panels = [make_panel(each) for each in (daily, changed_from(daily, 40))]
    shared = [panel.features[panel.day == daily.days[-1]].reset_index(drop=True) for panel in panels]
    moved = {name for name in shared[0] if not shared[0][name].equals(shared[1][name])}
    assert moved == set(panels[0].features) - calendar_and_names


def test_later_transactions_do_not_change_earlier_rows(lines):
    """The same law one step earlier, where line items are summed into days."""
    day = lines["day"].min() + pd.Timedelta(days=50)
    dearer = lines.copy()
    dearer.loc[dearer["day"] >= day, ["sales_value", "retail_disc", "coupon_disc"]] += 3.0
    before, after = (features_up_to(make_panel(sum_by_day(each, store_count=3)), day) for each in (lines, dearer))
    pd.testing.assert_frame_equal(before, after, check_exact=True)


def test_shape_kinds_and_order(daily):
    panel = make_panel(daily)
    assert panel.features.shape == (len(panel.revenue), 27)
    assert len(panel.day) == len(panel.revenue)
    assert panel.day.min() == daily.days[WARM_UP_DAYS]
    assert panel.features["is_weekend"].dtype == bool
    assert panel.features["store_id"].cat.categories.tolist() == [367, 406, 429]
    assert panel.features["department"].cat.categories.tolist() == ["DELI", "GROCERY", "MEAT", "TOYS"]
    shares = [name for name in panel.features if "share" in name]
    numbers = panel.features.drop(columns=["store_id", "department"])
    assert len(shares) == 4
    assert numbers.drop(columns=shares).notna().all(axis=None)
    assert numbers[shares].min(axis=None) >= 0
    assert numbers[shares].max(axis=None) <= 1


def test_features_against_plain_loops(daily):
    panel = make_panel(daily)
    pairs = {pair: at for at, pair in enumerate(zip(daily.store, daily.department, strict=True))}
    for row in range(0, len(panel.revenue), 97):
        features = panel.features.iloc[row]
        pair = pairs[
            daily.stores.index(features["store_id"]),
            daily.departments.index(features["department"]),
        ]
        day = daily.days.get_loc(panel.day[row])
        past = daily.revenue[pair, :day]
        in_store = daily.revenue[daily.store == daily.store[pair], :day].sum(axis=0)
        given = daily.retail_discount[pair, day - 28 : day].sum()
        expected = {
            "day_of_week": daily.days[day].weekday(),
            "revenue_lag_1": past[-1],
            "revenue_lag_7": past[-7],
            "revenue_lag_28": past[-28],
            "revenue_mean_14": past[-14:].mean(),
            "revenue_std_7": past[-7:].std(),
            "same_weekday_mean_4": past[[-7, -14, -21, -28]].mean(),
            "selling_days_28": (past[-28:] > 0).sum(),
            "days_since_sale": day - np.flatnonzero(past)[-1],
            "store_revenue_mean_7": in_store[-7:].mean(),
            "discount_share_28": given / (given + past[-28:].sum()) if past[-28:].sum() else np.nan,
        }
        for name, value in expected.items():
            assert features[name] == pytest.approx(value, abs=1e-4, nan_ok=True), (row, name)
        assert panel.revenue[row] == daily.revenue[pair, day]


def test_pair_starts_after_first_sale_and_keeps_zero_days(daily):
    panel = make_panel(daily)
    toys = panel.features["department"] == "TOYS"
    for store, of_store in panel.features[toys].groupby("store_id", observed=True):
        pair = np.flatnonzero(
            (daily.store == daily.stores.index(store)) & (daily.department == daily.departments.index("TOYS"))
        )[0]
        first_sale = np.flatnonzero(daily.revenue[pair])[0]
        assert len(of_store) == len(daily.days) - max(WARM_UP_DAYS, first_sale + 1)
    assert (panel.revenue[toys] == 0).mean() > 0.5


def test_daily_sums_keep_every_cent_and_count_a_basket_once(lines, daily):
    assert daily.revenue.sum() == pytest.approx(lines["sales_value"].sum(), abs=1e-6)
    assert daily.lines.sum() == len(lines)
    assert daily.baskets.sum() == len(lines[["basket_id", "store_id", "department", "day"]].drop_duplicates())
    one = lines[(lines["store_id"] == 367) & (lines["department"] == "DELI") & (lines["day"] == lines["day"].max())]
    pair = (daily.store == 0) & (daily.department == 0)
    assert daily.coupon_discount[pair, -1] == pytest.approx((one["coupon_disc"] + one["coupon_match_disc"]).sum())


def test_the_largest_stores_are_kept(lines):
    by_store = lines.groupby("store_id")["sales_value"].sum().sort_values()
    assert sum_by_day(lines, store_count=2).stores == sorted(by_store.index[-2:])

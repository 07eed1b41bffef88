"""Rows from daily totals: what is known about a store's department on the evening before the predicted day.

Invariant: apart from the calendar and the names of store and department, every feature of a row is computed by
`_before` or `_window`, and both end on the day before. No other function here reads a table of `Daily` day by day.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlrf.demo.daily_totals import Daily, Table

# The longest look-back: rows of the first four weeks would have less history than the others, so there are none.
WARM_UP_DAYS = 28

# Digits of a feature, so that a row can be read, copied and typed, and the model is trained on what is sent.
_DECIMALS = 4

_SATURDAY = 5


@dataclass(frozen=True)
class Panel:
    """Aligned rows: `features` (one column per feature), the `revenue` to predict in dollars, and its `day`."""

    features: pd.DataFrame
    revenue: npt.NDArray[np.float64]
    day: pd.DatetimeIndex

    def take(self, chosen: npt.NDArray[np.bool_]) -> Panel:
        """Return the rows where `chosen` is true, numbered from 0 again."""
        return Panel(self.features[chosen].reset_index(drop=True), self.revenue[chosen], self.day[chosen])


def make_panel(daily: Daily) -> Panel:
    """Return a row for each pair and each day with four weeks of history, from the day after the pair's first sale.

    A pair is unknown until its first sale, so the rows themselves do not reveal the future either.
    """
    columns = _numbers(daily)
    sold_before = np.maximum.accumulate(_before(daily.revenue, 1) > 0, axis=1)
    present = sold_before & (np.arange(len(daily.days)) >= WARM_UP_DAYS)
    pair, day = np.nonzero(present)

    features = _calendar(daily.days[day])
    for name, values in columns.items():
        chosen = values[present]
        features[name] = chosen if chosen.dtype == np.int64 else np.round(chosen, _DECIMALS)
    features["store_id"] = pd.Categorical.from_codes(daily.store[pair], categories=daily.stores)
    features["department"] = pd.Categorical.from_codes(daily.department[pair], categories=daily.departments)
    return Panel(features, daily.revenue[present], daily.days[day])


def _calendar(days: pd.DatetimeIndex) -> pd.DataFrame:
    """Return the features that are known for any day in advance."""
    return pd.DataFrame(
        {
            "day_of_week": days.day_of_week.to_numpy(np.int64),
            "day_of_month": days.day.to_numpy(np.int64),
            "week_of_year": days.isocalendar().week.to_numpy(np.int64),
            "month": days.month.to_numpy(np.int64),
            "is_weekend": days.day_of_week >= _SATURDAY,
        }
    )


def _numbers(daily: Daily) -> dict[str, npt.NDArray[np.float64] | npt.NDArray[np.int64]]:
    """Return the history features of each pair, its store and its department: [pairs, days] tables by feature name."""
    revenue = daily.revenue
    store_revenue = _sum_by(daily.store, revenue)
    department_revenue = _sum_by(daily.department, revenue)
    same_weekday = [_before(revenue, weeks * 7) for weeks in (1, 2, 3, 4)]
    return {
        "revenue_lag_1": _before(revenue, 1),
        "revenue_lag_7": _before(revenue, 7),
        "revenue_lag_14": _before(revenue, 14),
        "revenue_lag_28": _before(revenue, 28),
        "revenue_mean_7": _window(revenue, 7).mean(axis=2),
        "revenue_mean_14": _window(revenue, 14).mean(axis=2),
        "revenue_mean_28": _window(revenue, 28).mean(axis=2),
        "revenue_std_7": _window(revenue, 7).std(axis=2),
        "revenue_std_28": _window(revenue, 28).std(axis=2),
        "same_weekday_mean_4": np.mean(same_weekday, axis=0),
        "selling_days_28": (_window(revenue, 28) > 0).sum(axis=2, dtype=np.int64),
        "days_since_sale": _days_since_sale(revenue),
        "baskets_mean_28": _window(daily.baskets, 28).mean(axis=2),
        **_promotion_shares(daily),
        "store_revenue_mean_7": _window(store_revenue, 7).mean(axis=2)[daily.store],
        "store_revenue_mean_28": _window(store_revenue, 28).mean(axis=2)[daily.store],
        "department_revenue_mean_7": _window(department_revenue, 7).mean(axis=2)[daily.department],
    }


def _promotion_shares(daily: Daily) -> dict[str, Table]:
    """Return the share of the past days' sales at full price that was discounted; missing if nothing was sold."""
    shares = {}
    for length in (7, 28):
        given = _window(daily.retail_discount, length).sum(axis=2)
        shares[f"discount_share_{length}"] = _ratio(given, given + _window(daily.revenue, length).sum(axis=2))
    coupons = _window(daily.coupon_discount, 28).sum(axis=2)
    shares["coupon_share_28"] = _ratio(coupons, coupons + _window(daily.revenue, 28).sum(axis=2))
    shares["discounted_line_share_28"] = _ratio(
        _window(daily.discounted_lines, 28).sum(axis=2), _window(daily.lines, 28).sum(axis=2)
    )
    return shares


def _days_since_sale(revenue: Table) -> npt.NDArray[np.int64]:
    """Return the days since the last sale, 1 for yesterday; before the first sale, the days since the data began."""
    position = np.arange(revenue.shape[1])
    last_sale = np.maximum.accumulate(np.where(_before(revenue, 1) > 0, position - 1, -1), axis=1)
    return (position - last_sale).astype(np.int64)


def _before(table: Table, lag: int) -> Table:
    """Return `table` as of `lag` days before each day, lag >= 1; missing before the first day."""
    shifted = np.full_like(table, np.nan)
    shifted[:, lag:] = table[:, :-lag]
    return shifted


def _window(table: Table, length: int) -> Table:
    """Return [pairs, days, length]: the `length` days that end on the day before each day, missing before the first day."""
    padding = np.full((table.shape[0], length), np.nan)
    return np.lib.stride_tricks.sliding_window_view(np.hstack([padding, table[:, :-1]]), length, axis=1)


def _sum_by(group: npt.NDArray[np.int64], table: Table) -> Table:
    """Return the sums of the rows of `table` by group, one row for each group."""
    sums = np.zeros((int(group.max()) + 1, table.shape[1]))
    np.add.at(sums, group, table)
    return sums


def _ratio(part: Table, whole: Table) -> Table:
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)

"""Daily totals from line items: one dense table per measure, a row per store and department, a column per calendar day.

A day without a sale is a zero, not a gap: the households of the sample bought nothing there that day. This is valid data,
two rows in three are like this, and a model trained only on days with sales would predict revenue on all of
them. Days on which every store was closed (25 December) are zeros for the same reason, and count against the model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

Table = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Daily:
    """Daily sums of `len(store)` store-and-department pairs over consecutive days; every table is [pairs, days].

    `store` and `department` are each pair's index in `stores` and `departments`, which are sorted.
    """

    stores: list[int]
    departments: list[str]
    days: pd.DatetimeIndex
    store: npt.NDArray[np.int64]
    department: npt.NDArray[np.int64]
    revenue: Table
    retail_discount: Table
    coupon_discount: Table
    lines: Table
    discounted_lines: Table
    baskets: Table


def sum_by_day(lines: pd.DataFrame, *, store_count: int) -> Daily:
    """Return the totals of the `store_count` stores with the largest revenue, in all departments that ever sold in each.

    Stores and pairs are taken from the whole period: they are the scope of the demo, not features of a row.
    """
    revenue_by_store = lines.groupby("store_id")["sales_value"].sum()
    largest = sorted(int(store) for store in revenue_by_store.nlargest(store_count).index)
    lines = lines[lines["store_id"].isin(largest)]

    departments = sorted(str(name) for name in lines["department"].unique())
    days = pd.date_range(lines["day"].min(), lines["day"].max(), freq="D")
    store_of_line = pd.Index(largest).get_indexer(lines["store_id"]).astype(np.int64)
    department_of_line = pd.Index(departments).get_indexer(lines["department"]).astype(np.int64)
    day_of_line = days.get_indexer(lines["day"]).astype(np.int64)

    cells = store_of_line * len(departments) + department_of_line
    pairs, pair_of_line = np.unique(cells, return_inverse=True)
    slot_of_line = pair_of_line.astype(np.int64) * len(days) + day_of_line
    shape = (len(pairs), len(days))

    def total(weights: npt.NDArray[np.float64], slots: npt.NDArray[np.int64] = slot_of_line) -> Table:
        # Rounded to cents: a binary sum of prices is inexact in its last digits, and a row should read like money.
        return np.round(np.bincount(slots, weights, minlength=shape[0] * shape[1]).reshape(shape), 2)

    retail_discount = lines["retail_disc"].to_numpy(np.float64)
    coupon_discount = (lines["coupon_disc"] + lines["coupon_match_disc"]).to_numpy(np.float64)
    once_a_basket = (
        ~pd.DataFrame({"basket": lines["basket_id"].to_numpy(), "slot": slot_of_line}).duplicated().to_numpy()
    )
    return Daily(
        stores=largest,
        departments=departments,
        days=days,
        store=pairs // len(departments),
        department=pairs % len(departments),
        revenue=total(lines["sales_value"].to_numpy(np.float64)),
        retail_discount=total(retail_discount),
        coupon_discount=total(coupon_discount),
        lines=total(np.ones(len(lines))),
        discounted_lines=total(((retail_discount + coupon_discount) > 0).astype(np.float64)),
        baskets=total(np.ones(int(once_a_basket.sum())), slot_of_line[once_a_basket]),
    )

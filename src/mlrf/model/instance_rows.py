"""Makes the kernel's reader of lists, tuples and dicts for a schema: it reads what is certainly valid.

The other rows are converted value by value, which names the row and the fault.
"""

from __future__ import annotations

from mlrf import _kernel
from mlrf.core.column_rules import rule_of
from mlrf.core.feature import Feature, Kind
from mlrf.core.schema import Schema


def instance_rows(schema: Schema) -> _kernel.InstanceRows:
    """Return the reader of a schema's rows in natural form: categories that are strings by name, also in rows by position."""
    return _kernel.InstanceRows([_column(feature) for feature in schema.features])


def _column(
    feature: Feature,
) -> tuple[str, float, float, bool, bool, bool, bool, dict[str, float] | None]:
    rule = rule_of(feature)
    codes = None
    if feature.categories is not None:
        codes = {each: float(code) for code, each in enumerate(feature.categories) if isinstance(each, str)}
    # A number for a listed category is its code in a row by position, and its value in one by name.
    takes_numbers = feature.categories is None
    return (
        feature.name,
        rule.least,
        rule.most,
        rule.whole,
        rule.may_miss,
        takes_numbers,
        feature.kind is Kind.BOOLEAN,
        codes,
    )

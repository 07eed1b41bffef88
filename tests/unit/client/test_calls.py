"""The bodies that the client's calls send."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mlrf.client.calls import Calls
from mlrf.core.leniency import STRICT


@pytest.mark.parametrize("number", [math.inf, np.float64(math.inf), np.float32(math.inf)])
def test_an_infinity_in_a_record_is_sent_as_a_number(number):
    calls, record = Calls(None, STRICT), {"price": number}
    stored = {"key": {"item": 7}, "overrides": record}
    for call in (
        calls.predict(record),
        calls.explain(record, None),
        calls.curve(record, "price"),
        calls.curve(stored, "price"),
        calls.by_key(stored["key"], record, False),
    ):
        assert b'{"price":1e999}' in (next(call).body or b"")

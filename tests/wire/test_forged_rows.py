"""Rows that another program has written to a store: refused by name at every entry point, and repaired by a push."""

from __future__ import annotations

import pytest

from forged_rows import ask_for_forged


@pytest.mark.parametrize("kind", ["lmdb", "redis"])
def test_forged_rows_are_refused_by_name_at_every_entry_point(kind):
    finding = ask_for_forged(kind)
    assert finding.wrong == []
    assert finding.n_requests >= 80

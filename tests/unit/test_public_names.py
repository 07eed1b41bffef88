"""The names of `mlrf`, which are imported on first use."""

from __future__ import annotations

import pytest

import mlrf


def test_every_public_name_is_found():
    assert all(getattr(mlrf, name) is not None for name in mlrf.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'mlrf' has no attribute 'predict'"):
        mlrf.predict  # noqa: B018
    assert not hasattr(mlrf, "nothing")

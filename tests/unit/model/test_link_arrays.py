"""Many predictions at once have the bits of the predictions of each margin."""

from __future__ import annotations

import numpy as np
import pytest

from mlrf.core.link import KINDS, Link
from mlrf.model.link_arrays import predictions_of

EXTREME = [0.0, -0.0, 1.0, -745.2, 709.7, 710.0, -710.0, 1e308, float("inf"), float("-inf")]


@pytest.mark.parametrize("margins", [EXTREME[:6], EXTREME[:5], EXTREME], ids=["overflow", "finite", "infinite"])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_arrays_have_the_bits_of_single_predictions(kind, margins):
    link = Link(kind, 1.0 if kind in ("softmax", "shares") else 0.7)
    given = np.concatenate([margins, np.random.default_rng(0).normal(0, 30, 300 - len(margins))]).reshape(-1, 3)
    if "shares" in kind:
        given = np.abs(given)
    with np.errstate(all="ignore"):
        if link.is_vector:
            rows = np.array([link.vector()(row) for row in given.tolist()])
            assert predictions_of(link, given).tobytes() == rows.tobytes()
            return
        one = [link.scalar()(margin) for margin in given.ravel().tolist()]
        for shape in ((-1,), (-1, 1), (-1, 3)):
            found = predictions_of(link, given.reshape(shape))
            assert found.shape == given.reshape(shape).shape
            assert found.ravel().tobytes() == np.array(one).tobytes()

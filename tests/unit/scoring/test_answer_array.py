"""Arrow arrays of answers: what no column can hold is refused before a row is scored."""

from __future__ import annotations

import pytest

from bundles import NUMBERS, write_bundle
from mlrf.core.errors import ConfigError
from mlrf.core.manifest import LinkEntry
from mlrf.scoring.answer_array import AnswerFields, ArrayScorer


def test_labels_of_several_types_are_refused(tmp_path):
    options = {"schema": NUMBERS, "task": "multiclass", "link": LinkEntry("softmax"), "n_outputs": 3}
    mixed = write_bundle(tmp_path / "mixed", name="mixed", classes=[0, 1, "other"], **options)
    with pytest.raises(ConfigError, match="the classes of mixed are of several types, which no column"):
        ArrayScorer(mixed, AnswerFields(label=True))
    assert str(ArrayScorer(mixed, AnswerFields(probabilities=True)).type).count("double") == 6

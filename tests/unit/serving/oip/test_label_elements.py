"""Labels as tensors: a datatype that holds all of them."""

from __future__ import annotations

import pytest

from mlrf.serving.oip.messages import OutputTensor
from mlrf.serving.oip.output_tensors import _label_elements
from mlrf.serving.oip.output_values import values_of


@pytest.mark.parametrize(
    ("classes", "datatype", "values"),
    [
        (["no", "yes"], "BYTES", ["no", "yes"]),
        (["", "süd", "🌍"], "BYTES", ["", "süd", "🌍"]),
        ([0, 1], "INT64", [0, 1]),
        ([-(2**63) + 1, 2**63 - 1], "INT64", [-(2**63) + 1, 2**63 - 1]),
        ([0, 2**63], "FP64", [0.0, 2.0**63]),
        ([False, True], "BOOL", [False, True]),
        ([0.5, 1], "FP64", [0.5, 1.0]),
        ([0, "a", True], "BYTES", ["0", "a", "True"]),
        ([0, True], "BYTES", ["0", "True"]),
    ],
)
def test_every_label_is_an_element_of_one_datatype(classes, datatype, values):
    found, elements = _label_elements(classes)
    assert found == datatype
    assert list(values_of(OutputTensor("label", found, [len(classes)], b"".join(elements)))) == values

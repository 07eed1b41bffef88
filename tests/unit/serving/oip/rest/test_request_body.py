"""REST bodies of inference requests: NaN, and arrays that are long and not an input's data."""

from __future__ import annotations

import msgspec
import pytest

from mlrf.core.errors import MalformedRequestError
from mlrf.serving.oip.rest import request_body

LONG = b"1 " * 40_000
"""More than is read in one piece, and no JSON."""


def test_nan_is_a_missing_number_and_in_a_string_what_it_is():
    text = b'{"inputs":[{"name":"NaN","datatype":"BYTES","shape":[2],"data":["NaN","\\"NaN\\""]}],"id":"NaN","parameters":{"x":NaN}}'
    request = request_body.read_request("m", text, None, 0.0)
    assert (request.id, request.inputs[0].name, request.inputs[0].data) == ("NaN", "NaN", ["NaN", '"NaN"'])
    assert request.parameters == {"x": None}


@pytest.mark.parametrize(
    "where",
    [
        b'"parameters":{"data":[%b]},"inputs":[{"name":"features","datatype":"FP64","shape":[1,3],"data":[1,1,1]}]',
        b'"inputs":[{"data":[%b],"name":"features","datatype":"FP64","shape":[1,3],"data":[1,1,1]}]',
    ],
    ids=["no input's", "given twice"],
)
def test_long_array_outside_input_data_is_parsed(where):
    """The prediction log keeps bodies as they came."""
    with pytest.raises(MalformedRequestError):
        request_body.read_request("m", b"{%b}" % (where % LONG), None, 0.0)
    sound = b"{%b}" % (where % LONG.replace(b" ", b",").rstrip(b","))
    assert list(request_body.read_request("m", sound, None, 0.0).inputs[0].data) == [1.0] * 3
    assert msgspec.json.decode(sound)

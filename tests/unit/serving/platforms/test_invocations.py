"""Which content types, encodings and attributes `/invocations` accepts on each platform."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from bundles import NUMBERS
from mlrf.core.errors import InvalidRequestError, UnsupportedMediaTypeError
from mlrf.serving.http.head import Head
from mlrf.serving.native.canonical_rows import RowWriter
from mlrf.serving.platforms.invocations import CUSTOM_ATTRIBUTES, fit, invocations
from mlrf.serving.platforms.responses import Responses
from mlrf.serving.platforms.rows_handler import PlatformModel

HEAD = Head(
    method=b"POST",
    target=b"/invocations",
    keep_alive=True,
    is_http10=False,
    content_length=10,
    chunked=False,
    content_type=b"application/json",
    content_encoding=None,
    expects_continue=False,
    request_id=None,
)
ANSWER = b'{"predictions":[1.5]}'


def fitted(platform, **head):
    writer = RowWriter(NUMBERS, 4, "--max-infer-rows")
    model = PlatformModel(writer, lambda _body: ANSWER, Responses(predicts_labels=False), platform)
    return fit(invocations(model), replace(HEAD, **head), 1 << 20)


def test_attributes_of_up_to_1024_ascii_characters_come_back():
    answer = fitted("sagemaker", custom_attributes=b"a" * 1024)(b"[[1,2,3]]")
    assert answer.lines == CUSTOM_ATTRIBUTES + b": " + b"a" * 1024 + b"\r\n"


@pytest.mark.parametrize("attributes", [b"a" * 1025, "é".encode()])
def test_other_attributes_are_refused(attributes):
    with pytest.raises(InvalidRequestError, match="at most 1024 ASCII characters"):
        fitted("sagemaker", custom_attributes=attributes)
    fitted("mlflow", custom_attributes=attributes)  # a header of another platform means nothing


def test_gzip_is_the_only_content_encoding():
    for encoding in (None, b"identity", b" GZIP "):
        fitted(None, content_encoding=encoding)
    with pytest.raises(UnsupportedMediaTypeError, match="gzip"):
        fitted(None, content_encoding=b"br")


@pytest.mark.parametrize(
    ("platform", "kind"),
    [(None, b"application/jsonlines"), ("mlflow", b"application/x-parquet"), ("vertex", b"text/csv")],
)
def test_a_content_type_that_no_reader_has_is_refused(platform, kind):
    with pytest.raises(UnsupportedMediaTypeError, match="is not supported by this route"):
        fitted(platform, content_type=kind)


def test_sagemaker_refuses_an_unsupported_accept_header():
    with pytest.raises(UnsupportedMediaTypeError, match="Accept: image/png is not supported"):
        fitted("sagemaker", accept=b"image/png")
    fitted("mlflow", accept=b"image/png")


def test_the_header_parameter_of_csv_is_present_or_absent():
    fitted(None, content_type=b"text/csv; header=absent")
    with pytest.raises(InvalidRequestError, match="must be present or absent"):
        fitted(None, content_type=b"text/csv; header=maybe")


def test_a_json_body_of_another_charset_is_refused():
    with pytest.raises(UnsupportedMediaTypeError):
        fitted(None, content_type=b"application/json; charset=latin-1")

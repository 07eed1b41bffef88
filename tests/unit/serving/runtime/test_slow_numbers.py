"""Numbers that take long to convert are counted before a body is decoded."""

import time

import msgspec
import pytest

from mlrf import _kernel
from mlrf.core.errors import BatchTooLargeError
from mlrf.serving.runtime.slow_numbers import MOST_SLOW_NUMBERS, check_numbers

SLOW = [b"1e308", b"1e-310", b"1.7976931348623157E+308", b"2.5e0000300", b"9" * 30 + b"e270"]
FAST = [b"1", b"1e100", b"1.2345678901234567e-100", b"9007199254740993.0", b'"e300"', b'"one300"', b"1E5"]


@pytest.mark.parametrize("number", SLOW)
def test_a_body_with_too_many_slow_numbers_is_refused(number):
    at_most = b"[" + b",".join([number] * MOST_SLOW_NUMBERS) + b"]"
    check_numbers(at_most)
    with pytest.raises(BatchTooLargeError, match=r"more than 3000 numbers with exponents beyond 200.*in parts"):
        check_numbers(at_most[:-1] + b"," + number + b"]")


@pytest.mark.parametrize("number", FAST)
def test_other_numbers_are_not_counted(number):
    check_numbers(b"[" + b",".join([number] * 5 * MOST_SLOW_NUMBERS) + b"]")


def test_every_number_that_takes_long_has_a_large_exponent():
    """The library may change: numbers just inside the limit must be fast, or they must be counted too."""
    decode = msgspec.json.Decoder(list[float]).decode
    for number in [*FAST[:4], b"1e199", b"1.2345678901234567e-199"]:
        body = b"[" + b",".join([number] * 2000) + b"]"
        took_s = min(_seconds(decode, body) for _ in range(5))
        assert took_s / 2000 < 5e-6, number


def _seconds(decode, body):
    began_s = time.process_time()
    decode(body)
    return time.process_time() - began_s


@pytest.mark.parametrize(
    ("text", "n"),
    [
        (b"", 0), (b"e", 0), (b"1e", 0), (b"1e+", 0), (b"1e200", 1), (b"1e199", 0), (b"e200", 0), (b"1E200 1e-200", 2),
        (b"1e" + b"9" * 1000, 1), (b"1e200e200", 2),
    ],
)  # fmt: skip
def test_exponents_are_counted_at_the_edges_of_a_text(text, n):
    assert _kernel.count_exponents(text, 200) == n

"""Limits the numbers of a JSON body that take long to convert.

msgspec converts most numbers in 20 ns, but those beyond about 1e289 and below 1e-307 in 12 µs or more, in a call that keeps the
GIL: a body of 256 KiB of `1e308` took half a second. They are counted first, in one pass of 0.3 ns a byte or less.
"""

from __future__ import annotations

from mlrf import _kernel
from mlrf.core.errors import BatchTooLargeError

_LEAST_EXPONENT = 200
"""A mantissa of many digits adds to the exponent: one of 90 digits is long enough to make such a number rare."""
MOST_SLOW_NUMBERS = 3000
"""As many take some 40 ms; a batch of 100 rows of 27 features may consist of them."""
UNCOUNTED_BYTES = 16 << 10
"""A shorter body cannot have more: each takes six bytes with its comma."""


def has_many_slow_numbers(text: bytes) -> bool:
    """Return whether JSON text has too many numbers that take long to convert."""
    return len(text) > UNCOUNTED_BYTES and _kernel.count_exponents(text, _LEAST_EXPONENT) > MOST_SLOW_NUMBERS


def check_numbers(text: bytes) -> None:
    """Raise BatchTooLargeError if JSON text has too many numbers that take long to convert."""
    if has_many_slow_numbers(text):
        raise BatchTooLargeError(
            f"the body has more than {MOST_SLOW_NUMBERS} numbers with exponents beyond {_LEAST_EXPONENT}, which take long to "
            "read; send the rows in parts, and missing values as null",
            max_numbers=MOST_SLOW_NUMBERS,
        )

"""Decimal numbers of a JSON model, read to the same bits as by CatBoost.

CatBoost's own reader (RapidJSON without full precision) collects the digits in an integer while that stays below 2^53, then in
a double, and multiplies or divides once by a power of ten. One leaf value in sixteen comes out a unit in the last place
different from the nearest double; a model that was loaded from JSON answers with these.
"""

from __future__ import annotations

import re

from mlrf.core.errors import ModelUnreadableError

_NUMBER = re.compile(rb"(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?")
_EXACT = 1 << 53
_LARGEST_POWER = 308
_POWERS = [float(f"1e{power}") for power in range(_LARGEST_POWER + 1)]
_FULL = 0x1999999999999999
"""The integer whose next digit may overflow 64 bits."""
_DIGITS = 17


def read_decimal(text: bytes) -> float:
    """Return the double of a JSON number; ModelUnreadableError if it is not a number, or outside the range of doubles."""
    found = _NUMBER.fullmatch(text)
    if found is None:
        raise ModelUnreadableError(f"the model has {text[:40].decode('utf-8', 'replace')!r} where a number is expected")
    sign, whole, fraction, exponent = found.groups()
    power = int((exponent or b"0")[:12])
    if fraction is None and exponent is None and len(whole) < _DIGITS:
        number = float(int(whole))
    else:
        digits, fractional = _collect(whole, fraction or b"")
        number = _scaled(digits, power - fractional)
    if number == float("inf"):
        raise ModelUnreadableError(f"the model has {text[:40].decode()!r}, which is not a finite number")
    return -number if sign else number


def _collect(whole: bytes, fraction: bytes) -> tuple[float, int]:
    """Return the significand, and the number of fraction digits in it."""
    collected, counted = 0, 0
    number: float | None = None
    for digit in whole:
        if number is None and collected >= _FULL and (collected > _FULL or digit > ord("5")):
            number = float(collected)
        if number is None:
            collected = collected * 10 + digit - ord("0")
            counted += collected != 0
        else:
            number = number * 10.0 + (digit - ord("0"))
    position = 0
    if number is None:
        while position < len(fraction) and collected < _EXACT:
            collected = collected * 10 + fraction[position] - ord("0")
            counted += collected != 0
            position += 1
        number = float(collected)
    taken = position
    for digit in fraction[position:]:
        if counted >= _DIGITS:
            break
        number = number * 10.0 + (digit - ord("0"))
        taken += 1
        counted += number > 0.0
    return number, taken


def _scaled(number: float, power: int) -> float:
    if power > _LARGEST_POWER:
        return float("inf") if number else 0.0
    if power >= 0:
        return number * _POWERS[power]
    if power >= -_LARGEST_POWER:
        return number / _POWERS[-power]
    rest = power + _LARGEST_POWER
    return number / _POWERS[_LARGEST_POWER] / _POWERS[-rest] if rest >= -_LARGEST_POWER else 0.0

"""CatBoost's hash of a category: the low 32 bits of CityHash64, version 1 (Pike and Alakuijala, 2011), of its text.

Later versions of CityHash differ from this one.
"""

from __future__ import annotations

HASHED_CODE = 4294967296.0
"""HASHED_CODE + h is the code of an unlisted category with the hash h."""

_K0, _K1, _K2, _K3 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F, 0xC949D7C7509E6557
_MULTIPLIER = 0x9DDFEA08EB382D69
_MASK = (1 << 64) - 1
_CHUNK_BYTES = 64


def category_hash(text: str) -> int:
    """Return the hash of a category's text, 0 to 2^32 - 1."""
    return city_hash(text.encode("utf-8")) & 0xFFFFFFFF


def category_text(category: object) -> str | None:
    """Return the text that CatBoost hashes for a category, with booleans as 0 and 1; None for a value that is no category."""
    if isinstance(category, str):
        return category
    if isinstance(category, int) or (isinstance(category, float) and category.is_integer()):
        return str(int(category))
    return None


def city_hash(data: bytes) -> int:
    """Return CityHash64 v1 of bytes."""
    size = len(data)
    if size <= 16:  # noqa: PLR2004  the algorithm's own bounds
        return _up_to_16(data, size)
    if size <= 32:  # noqa: PLR2004
        return _up_to_32(data, size)
    if size <= _CHUNK_BYTES:
        return _up_to_64(data, size)
    return _longer(data, size)


def _word(data: bytes, at: int, size: int = 8) -> int:
    return int.from_bytes(data[at : at + size], "little")


def _turn(value: int, by: int) -> int:
    value &= _MASK
    return value >> by | value << (64 - by) & _MASK if by else value


def _shift(value: int) -> int:
    value &= _MASK
    return value ^ value >> 47


def _join(low: int, high: int) -> int:
    low, high = low & _MASK, high & _MASK
    first = _shift((low ^ high) * _MULTIPLIER)
    return _shift((high ^ first) * _MULTIPLIER) * _MULTIPLIER & _MASK


def _up_to_16(data: bytes, size: int) -> int:
    if size > 8:  # noqa: PLR2004
        first, last = _word(data, 0), _word(data, size - 8)
        return _join(first, _turn(last + size, size)) ^ last
    if size >= 4:  # noqa: PLR2004
        return _join(size + (_word(data, 0, 4) << 3), _word(data, size - 4, 4))
    if size:
        low = data[0] + (data[size >> 1] << 8)
        high = size + (data[size - 1] << 2)
        return _shift(low * _K2 ^ high * _K3) * _K2 & _MASK
    return _K2


def _up_to_32(data: bytes, size: int) -> int:
    a, b = _word(data, 0) * _K1, _word(data, 8)
    c, d = _word(data, size - 8) * _K2, _word(data, size - 16) * _K0
    return _join(_turn(a - b, 43) + _turn(c, 30) + d, a + _turn(b ^ _K3, 20) - c + size)


def _up_to_64(data: bytes, size: int) -> int:
    def half(start: int, a: int, z: int) -> tuple[int, int]:
        b, c = _turn(a + z, 52), _turn(a, 37)
        a += _word(data, start + 8)
        c += _turn(a, 7)
        a += _word(data, start + 16)
        return a + z, b + _turn(a, 31) + c

    front, front_mixed = half(0, _word(data, 0) + (size + _word(data, size - 16)) * _K0, _word(data, 24))
    back, back_mixed = half(size - 32, _word(data, 16) + _word(data, size - 32), _word(data, size - 8))
    mixed = _shift((front + back_mixed) * _K2 + (back + front_mixed) * _K0)
    return _shift(mixed * _K0 + front_mixed) * _K2 & _MASK


def _weak(data: bytes, at: int, a: int, b: int) -> tuple[int, int]:
    w, x, y, z = (_word(data, at + 8 * index) for index in range(4))
    a += w
    b = _turn(b + a + z, 21)
    kept = a
    a += x + y
    return a + z & _MASK, b + _turn(a, 44) + kept & _MASK


def _longer(data: bytes, size: int) -> int:
    x = _word(data, 0)
    y = _word(data, size - 16) ^ _K1
    z = _word(data, size - 56) ^ _K0
    v = _weak(data, size - 64, size, y)
    w = _weak(data, size - 32, size * _K1, _K0)
    z += _shift(v[1]) * _K1
    x = _turn(z + x, 39) * _K1
    y = _turn(y, 33) * _K1
    for at in range(0, (size - 1) // _CHUNK_BYTES * _CHUNK_BYTES, _CHUNK_BYTES):
        x = _turn(x + y + v[0] + _word(data, at + 16), 37) * _K1
        y = _turn(y + v[1] + _word(data, at + 48), 42) * _K1
        x, y = (x ^ w[1]) & _MASK, (y ^ v[0]) & _MASK
        z = _turn(z ^ w[0], 33)
        v = _weak(data, at, v[1] * _K1, x + w[0])
        w = _weak(data, at + 32, z + w[1], y)
        z, x = x, z
    return _join(_join(v[0], w[0]) + _shift(y) * _K1 + z, _join(v[1], w[1]) + x)

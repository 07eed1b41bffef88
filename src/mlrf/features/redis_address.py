"""The address of a Redis server, which the shared feature store and the shared cache of answers take."""

from __future__ import annotations

from mlrf.core.lazy_pattern import lazy_pattern

SCHEMES = ("redis", "rediss", "unix")
_DATABASE = lazy_pattern(r"/?|/[0-9]+")


def wrong_in_redis_address(url: str) -> str | None:
    """Return the fault of a Redis server's address, None if there is none; the text never contains the address."""
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in SCHEMES:
        return f"the address of a shared store begins with {', '.join(f'{each}://' for each in SCHEMES)}"
    if scheme == "unix":
        return None
    from urllib.parse import urlsplit  # noqa: PLC0415  few servers have such an address

    try:
        parts = urlsplit(url)
        port_is_one = parts.port != 0
    except ValueError:
        return "the address is not redis://HOST:PORT/DATABASE"
    if not port_is_one or _DATABASE.fullmatch(parts.path) is None:
        return "the address is not redis://HOST:PORT/DATABASE: port and database must be numbers"
    return None

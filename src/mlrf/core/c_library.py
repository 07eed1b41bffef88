"""Functions of the C library that take and return integers.

`ctypes` creates a class for each type of C, which takes more than a hundredth of a server's start. This uses the module that
it is made of.
"""

from __future__ import annotations

import _ctypes
from collections.abc import Callable


class _Int(_ctypes._SimpleCData):  # type: ignore[type-arg]  # noqa: SLF001
    _type_ = "i"


class _Function(_ctypes.CFuncPtr):
    _flags_ = _ctypes.FUNCFLAG_CDECL
    _restype_ = _Int


class _CLibrary:
    _handle = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]


def c_function(name: str) -> Callable[..., int] | None:
    """Return a function by its name; None if this system's C library has none. It is called without the GIL."""
    try:
        return _Function((name, _CLibrary))  # type: ignore[arg-type]
    except AttributeError:
        return None

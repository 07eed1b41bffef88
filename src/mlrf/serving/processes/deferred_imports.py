"""Stand-ins for modules that others import at a start, and that this server seldom or never uses.

`import` finds a stand-in in `sys.modules`; the first look at an attribute imports the module, puts it there and on its
package, and forwards to it, as all later ones do. With what they import, these modules are 40 of the 520 of a start and
cost a tenth of its CPU time. `importlib.util.LazyLoader` does not serve: it loads a module at the next `import` of it.
"""

from __future__ import annotations

import importlib
import sys
import threading
from importlib.util import find_spec
from types import ModuleType
from typing import Any

_UNUSED = ("email.utils", "html", "importlib.metadata", "bz2", "lzma", "ipaddress", "json")
"""What `gunicorn.util` imports for HTTP dates, pages of errors and the entry points of WSGI applications; `shutil` for
archives; `urllib.parse` and gunicorn's settings for addresses; a page of documentation for its examples."""
_BACKPORTS = "typing_extensions"
"""msgspec takes three names from it if it is installed, and else from `typing`, where all supported versions of Python have
them. With it, the import of msgspec takes a sixth longer."""


class _DeferredModule(ModuleType):
    """Stands for a module until one of its attributes is looked at."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = find_spec(name)
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        with self._lock:
            if sys.modules.get(self.__name__) is self:
                del sys.modules[self.__name__]
        # Another thread may be importing it: the import system waits for that.
        return getattr(importlib.import_module(self.__name__), name)


def _import_msgspec() -> None:
    """Import msgspec without the backports of `typing`; who imports them later gets them."""
    if _BACKPORTS in sys.modules or "msgspec" in sys.modules:
        return
    sys.modules[_BACKPORTS] = None  # type: ignore[assignment]  # makes `import` raise ImportError
    try:
        importlib.import_module("msgspec")
    finally:
        del sys.modules[_BACKPORTS]


def defer_unused_imports() -> None:
    """Put stand-ins in place of the modules that are not imported yet, and import msgspec; call it before what imports them."""
    _import_msgspec()
    for name in _UNUSED:
        if name in sys.modules:
            continue
        package, _, child = name.rpartition(".")
        deferred = sys.modules[name] = _DeferredModule(name)
        if package:
            setattr(sys.modules[package], child, deferred)

"""Stand-ins for modules of the standard library that gunicorn imports, and that a server without its WSGI part never uses.

`import` finds a stand-in in `sys.modules`; the first look at an attribute imports the module, puts it there and on its
package, and forwards to it, as all later ones do. With what they import, these modules are 27 of the 518 of a start and
cost a sixteenth of its CPU time. `importlib.util.LazyLoader` does not serve: it loads a module at the next `import` of it.
"""

from __future__ import annotations

import importlib
import sys
import threading
from importlib.util import find_spec
from types import ModuleType
from typing import Any

_UNUSED = ("email.utils", "html", "importlib.metadata")
"""What `gunicorn.util` imports for HTTP dates, pages of errors and the entry points of WSGI applications."""


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


def defer_unused_imports() -> None:
    """Put stand-ins in place of the modules that are not imported yet; call it before gunicorn is imported."""
    for name in _UNUSED:
        if name in sys.modules:
            continue
        package, _, child = name.rpartition(".")
        deferred = sys.modules[name] = _DeferredModule(name)
        if package:
            setattr(sys.modules[package], child, deferred)

"""Stand-ins for modules that others import at a start, and that this server seldom or never uses.

`import` finds a stand-in in `sys.modules`; the first look at an attribute imports the module, puts it there and on its
package, and forwards to it, as all later ones do. With what they import, these modules are 50 of the 520 of a start and
cost an eighth of its CPU time. `importlib.util.LazyLoader` does not serve: it loads a module at the next `import` of it.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from types import ModuleType
from typing import Any

_UNUSED = (
    "email.utils",
    "html",
    "importlib.metadata",
    "bz2",
    "lzma",
    "ipaddress",
    "json",
    "csv",
    "shutil",
    "locale",
    "textwrap",
    "glob",
    "shlex",
)
"""What `gunicorn.util` imports for HTTP dates, pages of errors and the entry points of WSGI applications; `shutil` for
archives; `urllib.parse` and gunicorn's settings for addresses, files and arguments; a page of documentation for its examples;
handlers of other platforms for tables; `tempfile` for folders; `subprocess` for texts; msgspec for JSON schemas."""
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


@contextmanager
def _in_place_of(name: str, stand_in: ModuleType | None) -> Iterator[None]:
    """Let imports find another module, or none, in place of one that is not imported yet; later ones find the module."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = stand_in  # type: ignore[assignment]  # None makes `import` raise ImportError
    try:
        yield
    finally:
        del sys.modules[name]


def _import_msgspec() -> None:
    """Import msgspec without the backports of `typing`; who imports them later gets them."""
    if "msgspec" in sys.modules:
        return
    with _in_place_of(_BACKPORTS, None), _in_place_of("platform", _platform()):
        importlib.import_module("msgspec")


def _import_argparse() -> None:
    """Import argparse without `gettext`, which finds no translations of its messages."""
    untranslated = ModuleType("gettext")
    untranslated.gettext = lambda message: message  # type: ignore[attr-defined]
    untranslated.ngettext = lambda one, many, n: one if n == 1 else many  # type: ignore[attr-defined]
    with _in_place_of("gettext", untranslated):
        importlib.import_module("argparse")


def _platform() -> ModuleType:
    """Return the part of `platform` that `uuid`, which msgspec imports, and gunicorn's workers call, both at their import."""
    module = ModuleType("platform")
    module.system = lambda: os.uname().sysname  # type: ignore[attr-defined]
    return module


class _AbsentModule(ModuleType):
    """Has None for every name that is imported from it."""

    __path__: list[str]

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


def import_gunicorn() -> None:
    """Import gunicorn's settings and workers without what this server does not use: its manual, and its own HTTP.

    Formatting the descriptions of all settings takes a third of their import. The class of workers names gunicorn's responses
    for errors that only its own parser raises.
    """
    _import_gunicorn_settings()
    http = _AbsentModule("gunicorn.http")
    found = find_spec("gunicorn")
    http.__path__ = [f"{folder}/http" for folder in (found and found.submodule_search_locations) or ()]
    wsgi = _AbsentModule("gunicorn.http.wsgi")
    with _in_place_of(http.__name__, http), _in_place_of(wsgi.__name__, wsgi), _in_place_of("platform", _platform()):
        importlib.import_module("gunicorn.workers.base")
    sys.modules.pop("gunicorn.http.errors", None)


def _import_gunicorn_settings() -> None:
    import textwrap  # noqa: PLC0415  a stand-in, in a server

    formats = vars(textwrap).get("dedent")
    textwrap.dedent = lambda text: text
    try:
        importlib.import_module("gunicorn.config")
    finally:
        if formats is None:
            del textwrap.dedent
        else:
            textwrap.dedent = formats


def defer_unused_imports() -> None:
    """Put stand-ins in place of the modules that are not imported yet, and import msgspec; call it before what imports them."""
    _defer(("textwrap",))
    _import_msgspec()
    _import_argparse()
    _defer(_UNUSED)


def _defer(names: Sequence[str]) -> None:
    for name in names:
        if name in sys.modules:
            continue
        package, _, child = name.rpartition(".")
        deferred = sys.modules[name] = _DeferredModule(name)
        if package:
            setattr(sys.modules[package], child, deferred)

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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import FunctionType, GeneratorType, MethodType, ModuleType, SimpleNamespace
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
    "ast",
    "tokenize",
    "selectors",
)
"""What `gunicorn.util` imports for HTTP dates, pages of errors and the entry points of WSGI applications; `shutil` for
archives; `urllib.parse` for addresses; a page of documentation for its examples; handlers of other platforms for tables;
`tempfile` for folders; `subprocess` for texts; msgspec for JSON schemas; `linecache` for the source of tracebacks; `socket` for
`sendfile`; asyncio for its own loops."""
_OF_ASYNCIO = ("asyncio.sslproto", "asyncio.staggered")
"""What the loops of asyncio use, and uvloop has of its own."""
_OF_SUBPROCESS = {"PIPE": -1, "STDOUT": -2, "DEVNULL": -3}
"""What asyncio and uvloop take from `subprocess` at their import."""
_CO_COROUTINE = 0x80
"""As in `inspect`."""
_OF_C_MODULE = (
    "MemoryBIO",
    "SSLError",
    "SSLSyscallError",
    "SSLWantReadError",
    "SSLZeroReturnError",
    "SSL_ERROR_SYSCALL",
    "SSL_ERROR_WANT_READ",
    "SSL_ERROR_WANT_WRITE",
)
"""What gunicorn, asyncio and uvloop take from `ssl` at their import."""
_BACKPORTS = "typing_extensions"
"""msgspec takes three names from it if it is installed, and else from `typing`, where all supported versions of Python have
them. With it, the import of msgspec takes a sixth longer."""


class _DeferredModule(ModuleType):
    """Stands for a module until one of its attributes is looked at, other than those that it is given."""

    def __init__(self, name: str, spec: ModuleSpec | None = None) -> None:
        super().__init__(name)
        self.__spec__ = spec
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        if name == "__path__" and self.__spec__ is not None and self.__spec__.submodule_search_locations is None:
            raise AttributeError(name)  # `from ssl import SSLError` looks whether a module is a package
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
    # Its package is not imported yet, so it has no specification; msgspec uses it to write JSON schemas only.
    sys.modules["msgspec.inspect"] = _DeferredModule("msgspec.inspect")
    with _in_place_of(_BACKPORTS, None), _in_place_of("platform", _platform()):
        importlib.import_module("msgspec")


def _import_pathlib() -> None:
    """Import pathlib without `urllib.parse`, from which it takes the function that quotes a path as an address."""
    _defer(("urllib.parse",))
    with _given("urllib.parse", quote_from_bytes=_later("urllib.parse", "quote_from_bytes")):
        importlib.import_module("pathlib")


def _import_argparse() -> None:
    """Import argparse without `gettext`, which finds no translations of its messages."""
    untranslated = ModuleType("gettext")
    untranslated.gettext = lambda message: message  # type: ignore[attr-defined]
    untranslated.ngettext = lambda one, many, n: one if n == 1 else many  # type: ignore[attr-defined]
    with _in_place_of("gettext", untranslated):
        importlib.import_module("argparse")


def _is_coroutine_function(function: object) -> bool:
    """Return what `inspect.iscoroutinefunction` does, which uvloop asks of every handler of a signal."""
    while isinstance(function, (MethodType, partial)):
        function = function.__func__ if isinstance(function, MethodType) else function.func
    return isinstance(function, FunctionType) and bool(function.__code__.co_flags & _CO_COROUTINE)


def _defer_inspect() -> None:
    """Defer `inspect` and give the stand-in the two functions that uvloop takes from it at its import."""
    _defer(("inspect",))
    if type(inspect := sys.modules["inspect"]) is _DeferredModule:
        vars(inspect).update(
            isgenerator=lambda found: isinstance(found, GeneratorType), iscoroutinefunction=_is_coroutine_function
        )


def _defer_ssl() -> None:
    """Defer `ssl`, whose enumerations take a twentieth of a start; the stand-in has what `ssl` itself takes from `_ssl`."""
    import _ssl  # noqa: PLC0415  later than the first of these imports

    _defer(("ssl",))
    if type(ssl := sys.modules["ssl"]) is _DeferredModule:
        vars(ssl).update({name: getattr(_ssl, name) for name in _OF_C_MODULE})
        vars(ssl)["CertificateError"] = _ssl.SSLCertVerificationError


@contextmanager
def _given(name: str, **attributes: object) -> Iterator[None]:
    """Let a stand-in have attributes that another module takes from it at its import."""
    module = sys.modules.get(name)
    if type(module) is not _DeferredModule:
        yield
        return
    vars(module).update(attributes)
    try:
        yield
    finally:
        for each in attributes:
            del vars(module)[each]


def _later(module: str, name: str) -> Callable[..., Any]:
    """Return what calls a function or class of a deferred module, for modules that take it at their import."""

    def call(*arguments: Any, **named: Any) -> Any:
        return getattr(importlib.import_module(module), name)(*arguments, **named)

    return call


def _platform() -> ModuleType:
    """Return the part of `platform` that `uuid`, which msgspec imports, and gunicorn's workers call, both at their import."""
    module = ModuleType("platform")
    module.system = lambda: os.uname().sysname  # type: ignore[attr-defined]
    return module


class _Logger:
    """Stands for a logger until it is used, as `logging` compiles regular expressions at its import."""

    def __init__(self, name: str | None = None) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        import logging  # noqa: PLC0415  few servers log anything through it

        try:
            return getattr(logging.getLogger(self._name), name)
        except OSError:  # no file descriptor is free, and what uvloop reports may be just that
            return _print


def _print(message: str, *arguments: object, **_named: object) -> None:
    """Write a log message to standard error."""
    print(message % arguments if arguments else message, file=sys.stderr)


class _AbsentModule(ModuleType):
    """Has None for every name that is imported from it."""

    __path__: list[str]

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


def import_gunicorn() -> None:
    """Import gunicorn's workers without what this server does not use: its own HTTP, and reloads when sources change.

    The class of workers names gunicorn's responses and errors, which only its own parser creates.
    """
    _defer(("logging",))
    _defer_ssl()
    http = _AbsentModule("gunicorn.http")
    found = find_spec("gunicorn")
    http.__path__ = [f"{folder}/http" for folder in (found and found.submodule_search_locations) or ()]
    wsgi, errors = _AbsentModule("gunicorn.http.wsgi"), _AbsentModule("gunicorn.http.errors")
    with (
        _in_place_of(http.__name__, http),
        _in_place_of(wsgi.__name__, wsgi),
        _in_place_of(errors.__name__, errors),
        _in_place_of("gunicorn.reloader", _AbsentModule("gunicorn.reloader")),
        _in_place_of("platform", _platform()),
        _given("inspect", Parameter=SimpleNamespace(POSITIONAL_ONLY=0, POSITIONAL_OR_KEYWORD=1)),
    ):
        importlib.import_module("gunicorn.workers.base")


def import_uvloop() -> None:
    """Import asyncio and uvloop without what the loops of asyncio use, loggers and `ssl`.

    uvloop compares contexts with the class that all of them have as a base, which is in `_ssl`.
    """
    import _ssl  # noqa: PLC0415  later than the first of these imports

    _defer(("logging", "subprocess"))
    _defer_ssl()
    if "asyncio" not in sys.modules:
        # Their package is not imported yet, so they have no specifications.
        sys.modules.update({name: _DeferredModule(name) for name in _OF_ASYNCIO})
    with (
        _given("logging", getLogger=_Logger, DEBUG=10),
        _given("subprocess", SubprocessError=_later("subprocess", "SubprocessError"), **_OF_SUBPROCESS),
        _given("ssl", SSLContext=_ssl._SSLContext, create_default_context=_later("ssl", "create_default_context")),  # noqa: SLF001
    ):
        importlib.import_module("uvloop")
    for name in _OF_ASYNCIO:
        setattr(sys.modules["asyncio"], name.rpartition(".")[2], sys.modules[name])


def defer_unused_imports() -> None:
    """Put stand-ins in place of the modules that are not imported yet, and import msgspec; call it before what imports them."""
    _defer(("textwrap",))
    _import_msgspec()
    _import_argparse()
    _import_pathlib()
    _defer(_UNUSED)
    _defer_inspect()


def _defer(names: Sequence[str]) -> None:
    for name in names:
        if name in sys.modules:
            continue
        package, _, child = name.rpartition(".")
        deferred = sys.modules[name] = _DeferredModule(name, find_spec(name))
        if package:
            setattr(sys.modules[package], child, deferred)

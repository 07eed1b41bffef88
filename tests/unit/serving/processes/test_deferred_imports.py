"""Stand-ins for unused modules: imported at the first use, by whatever way, and the modules themselves from then on."""

from __future__ import annotations

import subprocess
import sys

import pytest

USES = {
    "attribute": "import html; assert html.escape('<') == '&lt;'",
    "from import": "from html import escape; assert escape('<') == '&lt;'",
    "from package": "from email import utils; assert utils.quote('\"') == '\\\\\"'",
    "alias of a package": "import importlib.metadata as m; assert m.version('gunicorn')",
    "submodule": "import html.entities; assert html.entities.html5['lt;'] == '<'; import html; html.escape",
    "star": "from html import *; assert unescape('&lt;') == '<'",
    "specification": "from importlib.util import find_spec as f; assert f('html').origin; import html; html.escape",
    "unknown attribute": "import html; assert not hasattr(html, 'nothing')",
}


def run(statements: str) -> None:
    command = (
        f"import sys; from mlrf.serving.processes.deferred_imports import defer_unused_imports as d; d(); {statements}"
    )
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("use", USES)
def test_a_use_imports_the_module(use):
    run(
        f"{USES[use]}; found = [sys.modules[n] for n in ('html', 'email.utils', 'importlib.metadata') "
        "if type(sys.modules[n]).__name__ == 'module']; assert found; names = [m.__name__.rpartition('.') for m in found]; "
        "assert all(not p or getattr(sys.modules[p], c) is m for (p, _, c), m in zip(names, found))"
    )


def test_an_import_alone_imports_nothing():
    run(
        "before = set(sys.modules); import html, email.utils, importlib.metadata as m; d(); "
        "assert set(sys.modules) == before, set(sys.modules) - before"
    )


def test_a_module_that_is_there_stays():
    run("import html; html.escape; there = sys.modules['html']; d(); assert sys.modules['html'] is there")


TLS = """
from mlrf.serving.processes.deferred_imports import import_gunicorn, import_uvloop
import_gunicorn()
import_uvloop()
import asyncio, uvloop
deferred = sys.modules["ssl"]
assert type(deferred).__name__ == "_DeferredModule"

async def refuse_tls(reader, writer):
    writer.write(b"no TLS here\\n")
    writer.close()

async def connect():
    server = await asyncio.start_server(refuse_tls, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        await asyncio.open_connection("127.0.0.1", port, ssl=True, server_hostname="localhost")
    except deferred.SSLError as error:
        return error

with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    assert isinstance(runner.run(connect()), deferred.SSLError)
ssl = sys.modules["ssl"]
assert ssl is not deferred and deferred.SSLContext is ssl.SSLContext
assert all(getattr(deferred, n) == getattr(ssl, n) for n in vars(deferred) if n.startswith(("SSL", "Cert", "Mem")))
"""


RACE = """
from threading import Event, Thread, current_thread, main_thread

class Name(str):
    hashed = 0
    def __hash__(self):
        if current_thread() is main_thread():
            Name.hashed += 1
            if Name.hashed == 2:  # looked up, and about to be deleted
                other.start()
                came.wait()
        return str.__hash__(self)

class WatchedLock:
    def __init__(self, lock):
        self.lock = lock
    def __enter__(self):
        if current_thread() is other:
            came.set()
        self.lock.acquire()
    def __exit__(self, *_error):
        self.lock.release()

def use():
    used.append(deferred.unescape)
    came.set()

used, came, other = [], Event(), Thread(target=use)
deferred = sys.modules["html"]
deferred.__name__, deferred._lock = Name("html"), WatchedLock(deferred._lock)
use()
other.join()
assert Name.hashed >= 2
assert used == [sys.modules["html"].unescape] * 2, "imported twice"
"""


def test_threads_import_a_module_once():
    run(f"exec({RACE!r})")


def test_msgspec_is_imported_without_backports():
    run(
        "assert 'msgspec' in sys.modules and 'typing_extensions' not in sys.modules; import typing_extensions; "
        "assert typing_extensions.override; import typing, msgspec; "
        "T = typing.TypedDict('T', {'a': typing.Required[int], 'b': typing.NotRequired[int]}, total=False); "
        "assert msgspec.convert({'a': 1}, T) == {'a': 1}"
    )


def test_msgspec_that_is_there_stays():
    run("there = sys.modules['msgspec']; import typing_extensions; d(); assert sys.modules['msgspec'] is there")


def test_gunicorn_is_imported_without_its_settings_and_its_http():
    run(
        "from mlrf.serving.processes.deferred_imports import import_gunicorn as g; g(); import gunicorn.arbiter; "
        "assert not {'gunicorn.config', 'gunicorn.http', 'gunicorn.http.errors', 'gunicorn.reloader', 'inotify'} & sys.modules.keys(); "
        "assert type(sys.modules['inspect']).__name__ == '_DeferredModule'"
    )


def test_inspect_is_imported_when_it_is_used():
    run(
        "from mlrf.serving.processes.deferred_imports import import_gunicorn as g; g(); import uvloop; "
        "from gunicorn.util import get_arity; from inspect import Parameter, isgenerator; "
        "assert get_arity(lambda a, b: 0) == 2 and Parameter.VAR_KEYWORD and not isgenerator(0)"
    )


def test_the_stand_in_of_inspect_recognises_coroutine_functions():
    run(
        "from functools import partial; import inspect\n"
        "class C:\n async def m(self): ...\n def f(self): ...\n"
        "cases = [C().m, C.m, partial(C.m), C().f, partial(C().m), C, print, 0]\n"
        "here = [inspect.iscoroutinefunction(c) for c in cases]\n"
        "assert type(inspect).__name__ == '_DeferredModule'\n"
        "inspect.signature; there = sys.modules['inspect']; assert there is not inspect\n"
        "assert here == [there.iscoroutinefunction(c) for c in cases] == [True, True, True, False, True, False, False, False]"
    )


def test_tls_works_with_the_stand_in_of_ssl():
    run(f"exec({TLS!r})")


def test_schemas_import_the_deferred_part_of_msgspec():
    run(
        "import msgspec; assert type(sys.modules['msgspec.inspect']).__name__ == '_DeferredModule'; "
        "assert msgspec.json.schema(int) == {'type': 'integer'}; "
        "assert msgspec.inspect.type_info(int) == msgspec.inspect.IntType(); import msgspec.inspect as i; assert i.IntType"
    )


def test_what_gunicorn_was_imported_without_is_there_later():
    run(
        "from mlrf.serving.processes.deferred_imports import import_gunicorn as g; g(); import platform, uuid; "
        "from gunicorn.http.wsgi import Response; from gunicorn.http.errors import InvalidHeader; "
        "from gunicorn.reloader import reloader_engines; assert reloader_engines['auto']; "
        "assert Response.send_headers and InvalidHeader('x') and platform.machine() and uuid.uuid4()"
    )


IMPORTED = "from mlrf.serving.processes.deferred_imports import import_gunicorn as g, import_uvloop as u; g(); u(); "
OF_UVLOOP = {
    "logging": "import logging; assert asyncio.log.logger.error == logging.getLogger('asyncio').error",
    "subprocess": "import subprocess as s; assert s.Popen and vars(asyncio.subprocess)['PIPE'] == sys.modules[s.__name__].PIPE",
    "selectors": "asyncio.SelectorEventLoop().close()",
    "asyncio.sslproto": "assert asyncio.sslproto.SSLProtocol and __import__('asyncio.sslproto').sslproto.SSLProtocol",
    "asyncio.staggered": "from asyncio.staggered import staggered_race; assert asyncio.iscoroutinefunction(staggered_race)",
    "urllib.parse": "from pathlib import Path; assert Path('/a b').as_uri() == 'file:///a%20b'",
}


@pytest.mark.parametrize("name", OF_UVLOOP)
def test_what_uvloop_was_imported_without_is_imported_when_used(name):
    run(
        f"{IMPORTED} import asyncio; deferred = sys.modules[{name!r}]; assert type(deferred).__name__ == '_DeferredModule'; "
        f"{OF_UVLOOP[name]}; assert type(sys.modules[{name!r}]).__name__ == 'module'"
    )


def test_uvloop_runs_a_process_after_the_deferred_import():
    run(
        f"{IMPORTED} import asyncio, subprocess, uvloop\n"
        "async def fail():\n"
        "    try:\n"
        "        await asyncio.create_subprocess_exec('true', preexec_fn=lambda: 1 / 0)\n"
        "    except subprocess.SubprocessError as error:\n"
        "        return type(error.__cause__)\n"
        "with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:\n"
        "    assert runner.run(fail()) is ZeroDivisionError"
    )


def test_a_logger_without_a_free_file_descriptor_prints():
    command = (
        "from mlrf.serving.processes.deferred_imports import defer_unused_imports as d; d(); "
        f"{IMPORTED} import asyncio, resource; resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3)); "
        "asyncio.log.logger.error('%s of %s', 'none', 'all', exc_info=True)"
    )
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "none of all\n")

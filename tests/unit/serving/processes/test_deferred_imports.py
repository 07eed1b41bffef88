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


RACE = """
from threading import Barrier
from concurrent.futures import ThreadPoolExecutor

def use(given):
    deferred, barrier = given
    barrier.wait()
    return deferred.unescape("&lt;")

sys.setswitchinterval(1e-6)
with ThreadPoolExecutor(4) as threads:
    for _ in range(500):
        sys.modules.pop("html", None)
        d()
        assert list(threads.map(use, [(sys.modules["html"], Barrier(4))] * 4)) == ["<"] * 4
"""


def test_threads_may_use_a_module_for_the_first_time_at_once():
    run(f"exec({RACE!r})")

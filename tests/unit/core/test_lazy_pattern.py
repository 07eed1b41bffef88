"""Patterns compiled at their first use: equal to compiled ones, and all of them valid."""

from __future__ import annotations

import importlib
import re
import sys

from mlrf.core.lazy_pattern import LazyPattern, lazy_pattern


def test_a_pattern_is_compiled_at_its_first_use(monkeypatch):
    compiled = []
    compile_pattern = re.compile
    monkeypatch.setattr(re, "compile", lambda *given: compiled.append(given) or compile_pattern(*given))
    pattern = lazy_pattern(r"a+", re.IGNORECASE)
    assert compiled == []
    assert [pattern.fullmatch("aA")[0], pattern.sub("b", "AAc"), pattern.pattern] == ["aA", "bc", "a+"]
    assert compiled == [("a+", re.IGNORECASE)]


def test_every_pattern_of_a_server_is_valid():
    for name in ("mlrf.cli.serve", "mlrf.serving.processes.run_server"):
        importlib.import_module(name)
    modules = [module for name, module in sys.modules.items() if name.startswith("mlrf.")]
    patterns = [each for module in modules for each in vars(module).values() if type(each) is LazyPattern]
    assert len(patterns) > 20
    for each in patterns:
        re.compile(*each._source)

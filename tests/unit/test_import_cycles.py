"""No cycle of imports within the server, imports for type checking included (import-linter's contracts leave those out)."""

from __future__ import annotations

from itertools import combinations

import grimp
import pytest

SERVER = "mlrf.serving"


@pytest.fixture(scope="module")
def graph():
    return grimp.build_graph("mlrf", exclude_type_checking_imports=False, cache_dir=None)


def test_no_module_of_the_server_imports_itself_through_others(graph):
    modules = graph.find_descendants(SERVER)
    cycles = [
        (module, *chain)
        for module in sorted(modules)
        for imported in graph.find_modules_directly_imported_by(module) & modules
        if (chain := graph.find_shortest_chain(imported, module)) is not None and set(chain) <= modules
    ]
    assert not cycles


def test_no_two_packages_of_the_server_import_each_other(graph):
    packages = sorted(graph.find_children(SERVER))
    both_ways = [
        (one, other)
        for one, other in combinations(packages, 2)
        if graph.direct_import_exists(importer=one, imported=other, as_packages=True)
        and graph.direct_import_exists(importer=other, imported=one, as_packages=True)
    ]
    assert not both_ways

"""No cycle of imports, imports for type checking included (import-linter's contracts leave those out).

The root of the package is left out: it holds the version and the kernel, and imports what `mlrf.NAME` means when that is asked for.
"""

from __future__ import annotations

from itertools import combinations

import grimp
import pytest

SERVER = "mlrf.serving"


@pytest.fixture(scope="module")
def graph():
    built = grimp.build_graph("mlrf", exclude_type_checking_imports=False, cache_dir=None)
    for imported in built.find_modules_directly_imported_by("mlrf"):
        built.remove_import(importer="mlrf", imported=imported)
    return built


def test_no_module_imports_itself_through_others(graph):
    cycles = [
        (module, *chain)
        for module in sorted(graph.modules)
        for imported in graph.find_modules_directly_imported_by(module)
        if (chain := graph.find_shortest_chain(imported, module)) is not None
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

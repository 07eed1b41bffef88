"""Names of the code are words that an engineer of this field would search for, and none of the private words of its first drafts."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from mlrf.serving.telemetry.metrics import FAMILIES

SOURCE = Path(__file__).parents[2] / "src/mlrf"
BANNED = frozenset(
    {
        "house", "sight", "careful", "told", "tells", "hear", "heard", "asked", "wishes", "shelf", "shelves", "fly", "flying",
        "aside", "owes", "owed", "owing", "whoever", "nobody", "tally", "crowd", "unread", "rereading",
    }
)  # fmt: skip
"""In no identifier, file name, metric, label or event of the log."""
BANNED_AS_NAMES = BANNED | {
    "place",
    "room",
    "reasons",
    "opening",
    "answering",
    "predicting",
    "inferring",
    "pushing",
    "loading",
    "sources",
}
"""In no class or module name: elsewhere these mean what they usually mean."""
FILES = sorted(SOURCE.rglob("*.py"))
EVENT = re.compile(r"""log\.(?:debug|info|warning|error)\(\s*"([^"]+)\"""")


def words(name: str) -> set[str]:
    """The words of an identifier, in snake or camel case."""
    return {each.lower() for each in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def identifiers(tree: ast.AST) -> set[str]:
    """Every name that a module defines: functions, arguments, variables and attributes."""
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                found.add(name)
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_no_private_word_is_an_identifier_or_an_event(file):
    text = file.read_text(encoding="utf-8")
    tree = ast.parse(text)
    found = {name: hit for name in identifiers(tree) | set(EVENT.findall(text)) if (hit := words(name) & BANNED)}
    assert found == {}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_no_private_word_names_a_module_or_a_class(file):
    tree = ast.parse(file.read_text(encoding="utf-8"))
    names = {file.stem, *file.relative_to(SOURCE).parts[:-1]}
    names |= {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    assert {name: hit for name in names if (hit := words(name) & BANNED_AS_NAMES)} == {}


def test_no_private_word_names_a_metric_or_a_label():
    for family in FAMILIES:
        for text in (family.name, *(part for label, values in family.labels for part in (label, *values))):
            assert not words(text) & (BANNED | {"why", "for", "room", "others"})


def test_no_variable_of_a_test_is_called_told_or_said():
    """They say nothing of what is held: message, stderr, response and the like do."""
    tests = SOURCE.parents[1] / "tests"
    found = {file.name for file in tests.rglob("*.py") if identifiers(ast.parse(file.read_bytes())) & {"told", "said"}}
    assert found == set()


def test_a_private_word_would_be_found():
    tree = ast.parse("class Shelf:\n    def told(self, asked): self.tally = asked")
    assert {hit for name in identifiers(tree) for hit in words(name) & BANNED} == {
        "shelf",
        "told",
        "asked",
        "tally",
    }

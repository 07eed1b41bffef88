"""Names are words that an engineer of this field would search for: none of the private words of the first drafts.

The field's own words are in `docs/reference/glossary.md`. Three lists:

1. `NEVER` have no ordinary meaning in this project: in no name, and in no prose.
2. `NOT_IN_NAMES` are ordinary English, but named something else here: no part of a name. A test's own name is a sentence, and exempt.
3. `NOT_A_NAME` are ordinary parts of a longer name; alone they say nothing of what they name.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from mlrf.serving.telemetry.metrics import FAMILIES

ROOT = Path(__file__).parents[2]
NEVER = frozenset(
    {
        "told", "shelf", "shelves", "wishes", "careful", "carefully", "sight", "hear", "hears", "heard", "tally", "tallies",
        "crowd", "crowds", "owe", "owes", "owed", "owing",
    }
)  # fmt: skip
NOT_IN_NAMES = NEVER | {
    "house", "tells", "asked", "fly", "flying", "aside", "beside", "whoever", "nobody", "rereading", "wanted", "ours", "theirs",
    "reasons", "answering", "reread", "asks", "asker", "askers", "wants", "unwanted",
}  # fmt: skip
NOT_A_NAME = frozenset(
    {"place", "places", "placed", "room", "rooms", "tell", "held", "hold", "board", "land", "opening", "openings"}
)
NOT_A_CLASS = NOT_A_NAME | {"predicting", "inferring", "pushing", "loading", "sources"}
"""Part of no class or module name, which are nouns."""
NOT_A_LABEL = NOT_IN_NAMES | {"why", "for", "room", "others", "unread"}
CODE = ("src", "kernel", "ops", "benchmarks", "tests")
EVENT = re.compile(r"""log\.(?:debug|info|warning|error)\(\s*"([^"]+)\"""")
NO_CODE = re.compile(r"""/\*.*?\*/|//[^\n]*|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'""", re.DOTALL)


PROSE = frozenset(
    {
        ".md",
        ".py",
        ".pyi",
        ".cpp",
        ".hpp",
        ".inl",
        ".js",
        ".css",
        ".html",
        ".proto",
        ".yaml",
        ".yml",
        ".toml",
        ".lua",
        ".http",
        ".txt",
    }
)


def words(name: str) -> list[str]:
    """The words of an identifier in snake or camel case, or of a sentence."""
    return [each.lower() for each in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


@cache
def definitions(text: str) -> tuple[frozenset[str], tuple[str, ...]]:
    """Every name that a module defines, and its classes. The names are of functions (not of tests), arguments, variables, attributes."""
    names, classes = set(), []
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.ClassDef(name=name):
                names.add(name)
                classes.append(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                names.add("" if name.startswith("test_") else name)
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                names.add(name)
            case ast.alias(asname=str(name)) | ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                names.add(name)
    return frozenset(names), tuple(classes)


def python_names(text: str) -> frozenset[str]:
    """Every name that a Python module defines; none if the module has no private word at all, which is found out sooner."""
    return definitions(text)[0] if any(private_names(tokens(text))) else frozenset()


def tokens(text: str) -> frozenset[str]:
    """Every word of a text, names among them."""
    return frozenset(re.findall(r"[^\W\d]\w*", text))


def other_names(text: str) -> frozenset[str]:
    """Every word of C++ or JavaScript outside comments and strings."""
    return frozenset(re.findall(r"[A-Za-z_$][\w$]*", NO_CODE.sub(" ", text)))


READERS: dict[str, Callable[[str], frozenset[str]]] = {
    **dict.fromkeys((".py", ".pyi"), python_names),
    **dict.fromkeys((".cpp", ".hpp", ".inl", ".js", ".mjs"), other_names),
}


def files(*folders: str) -> list[Path]:
    """The files of these folders, relative to the repository; without what Python caches and builds in them."""
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*")) if path.suffix in PROSE]
    results = ROOT / "benchmarks/results"  # the rivals' environments
    found = [path for path in found if not path.is_relative_to(results)]
    return [path.relative_to(ROOT) for path in found if path != Path(__file__)]


def private_names(names: frozenset[str]) -> Iterator[str]:
    """The names with a private word."""
    for name in names:
        if NOT_IN_NAMES.intersection(words(name)) or name.strip("_").lower() in NOT_A_NAME:
            yield name


def private_classes(text: str) -> list[str]:
    """The classes of a Python module that are called by a private word."""
    if not any(NOT_A_CLASS.intersection(words(name)) for name in tokens(text)):
        return []
    return [name for name in definitions(text)[1] if NOT_A_CLASS.intersection(words(name))]


@pytest.mark.parametrize("folder", CODE)
def test_no_identifier_is_a_private_word(folder):
    read = {path: READERS[path.suffix] for path in files(folder) if path.suffix in READERS}
    texts = {path: (ROOT / path).read_text(encoding="utf-8") for path in read}
    assert texts
    found = {str(path): hit for path, text in texts.items() if (hit := sorted(private_names(read[path](text))))}
    assert found == {}


@pytest.mark.parametrize("folder", [*CODE, "docs"])
def test_no_file_has_a_private_name(folder):
    assert [str(path) for path in files(folder) if NOT_IN_NAMES.intersection(words(str(path)))] == []


def test_no_module_or_class_of_the_package_is_a_private_word():
    found = {}
    for path in files("src"):
        if path.suffix == ".py":
            found[str(path)] = private_classes((ROOT / path).read_text(encoding="utf-8"))
            found[str(path)] += [part for part in (*path.parts, path.stem) if NOT_A_CLASS.intersection(words(part))]
    assert {path: names for path, names in found.items() if names} == {}


def test_no_event_of_the_log_has_a_private_word():
    texts = [(ROOT / path).read_text(encoding="utf-8") for path in files("src") if path.suffix == ".py"]
    events = [event for text in texts for event in EVENT.findall(text)]
    assert len(events) > 20
    assert [event for event in events if NOT_IN_NAMES.intersection(words(event))] == []


def test_no_metric_or_label_has_a_private_word():
    for family in FAMILIES:
        for text in (family.name, *(part for label, values in family.labels for part in (label, *values))):
            assert not NOT_A_LABEL.intersection(words(text)), text


def test_no_prose_has_a_word_of_the_first_drafts():
    found = {}
    for path in (*files(*CODE, "docs"), *(page.relative_to(ROOT) for page in ROOT.glob("*.md"))):
        if hit := sorted(private_prose((ROOT / path).read_text(encoding="utf-8", errors="replace"))):
            found[str(path)] = hit
    assert found == {}


def private_prose(text: str) -> set[str]:
    """The words of a text that are private."""
    return NEVER.intersection(re.findall(r"[a-z]+", text.lower()))


def test_planted_words_are_found():
    planted = "class Shelf:\n    def answer(self, place, asked): self._held = place\ndef test_nobody_is_asked(): pass\n"
    assert sorted(private_names(python_names(planted))) == ["Shelf", "_held", "asked", "place"]
    kernel = 'auto wanted = 1; // told\nconst char* why = "ours"; int in_place_copy, theirs;'
    assert sorted(private_names(other_names(kernel))) == ["theirs", "wanted"]
    assert private_classes("class Predicting: ...\nclass PredictHandler: ...") == ["Predicting"]
    assert EVENT.findall('self._log.info("worker told", slot=1)') == ["worker told"]
    assert private_prose("A reader is told; in place of a shelf.") == {"told", "shelf"}

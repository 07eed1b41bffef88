"""The error tree as it is drawn is the error tree as it is."""

from __future__ import annotations

import re

from mlrf.core import errors
from mlrf.core.errors import MlrfError

_LINE = re.compile(r"^    ([│ ├└─]*)(\w+Error)(?: +([A-Z_]+))?")


def drawn():
    """Each class of the drawing with its parent and its code."""
    path, found = [], {}
    for line in (errors.__doc__ or "").splitlines():
        if matched := _LINE.match(line):
            depth = len(matched[1]) // 4
            path[depth:] = [matched[2]]
            found[matched[2]] = (path[depth - 1] if depth else "Exception", matched[3] or "ERROR")
    return found


def classes():
    return [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, MlrfError)]


def test_the_drawing_is_the_tree():
    assert drawn() == {cls.__name__: (cls.__bases__[0].__name__, cls.code) for cls in classes()}


def test_every_error_has_a_unique_code_and_a_docstring():
    codes = [cls.code for cls in classes()]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[A-Z]+(_[A-Z]+)*", code) for code in codes)
    assert all("code" in vars(cls) and cls.__doc__ for cls in classes())


def test_an_error_carries_its_sentence_and_details():
    error = errors.InvalidFeatureError("a sentence", feature="a")
    assert (str(error), error.details) == ("a sentence", {"feature": "a"})

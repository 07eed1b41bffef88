"""What the package's error messages advise, read from its source: texts in errors that name an option, a command or a member."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

import mlrf
from mlrf.core import errors

PACKAGE = Path(mlrf.__file__).parent
_OF_COMMANDS = re.compile(r"(?<![\w-])--(?:[a-z][a-z0-9-]*[a-z0-9]|(?:[a-z]+-)?\{\})(?![\w-])|`mlrf [a-z]+")
_SUBJECT = re.compile(r"^--(?:[a-z]+-)*(?:[a-z]+|\{\})( \{\})?:")
"""The option that a message is about, not what it advises."""


def _text(node: ast.AST) -> str:
    """The text of an expression, with {} for what is filled in."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(_text(part) if isinstance(part, ast.Constant) else "{}" for part in parts)
        case ast.BinOp(left=left, right=right, op=ast.Add()):
            return (_text(left) or "{}") + (_text(right) or "{}")
    return ""


def messages(*folders: str) -> dict[str, str]:
    """The text of each error that the modules in these folders raise, and the module."""
    return {text: path for text, (_, path) in _errors(*folders).items()}


@cache
def _errors(*folders: str) -> Mapping[str, tuple[str, str]]:
    """The text of each error that the modules in these folders raise, with its class and the module. Read once: it takes a second."""
    found = {}
    for path in sorted(path for folder in folders for path in (PACKAGE / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
                if name.endswith("Error") and node.args and (text := _text(node.args[0])):
                    found[text] = name, str(path.relative_to(PACKAGE))
    return MappingProxyType(found)


def advising_options(*folders: str) -> dict[str, str]:
    """Those messages that advise an option or a command of `mlrf`."""
    return {text: path for text, path in messages(*folders).items() if _OF_COMMANDS.search(_SUBJECT.sub("", text))}


def refusals(*folders: str) -> dict[str, str]:
    """Of those messages, the ones that refuse a request and, after a semicolon, advise something."""
    found = {}
    for text, (name, path) in _errors(*folders).items():
        kind = getattr(errors, name, None)
        if ";" in text and isinstance(kind, type) and issubclass(kind, errors.RequestError):
            found[text] = path
    return found

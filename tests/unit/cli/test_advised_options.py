"""What messages advise exists: every option, command and extra that a text of the package names."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest
import typer

import mlrf
from mlrf.cli.app import app
from mlrf.cli.serve import main as serve

PACKAGE = Path(mlrf.__file__).parent
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*[a-z0-9](?![\w-])")
_COMMAND = re.compile(r"`mlrf ([a-z]+)")
_EXTRA = re.compile(r"mlrf\[([a-z]+)\]")
OF_OTHERS = {"--strict", "--build-arg"}
"""Of the OpenAPI tools that a description names, and of engines that build images."""


@cache
def texts():
    """Every string of the package that is no docstring, with its module."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        bare = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        strings = [node for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
        found += [(path.name, node.value) for node in strings if id(node) not in bare]
    return found


def named(pattern):
    return {(found, where) for where, text in texts() for found in pattern.findall(text)}


def commands(group, prefix=""):
    """Every command and subcommand by name."""
    for name, command in group.commands.items():
        yield name, command
        if hasattr(command, "commands"):
            yield from commands(command, f"{prefix}{name} ")


@pytest.fixture(scope="module")
def known_commands():
    return dict(commands(typer.main.get_command(app)))


def test_every_option_that_a_text_names_exists(known_commands, capsys):
    assert serve(["--help"]) == 0
    options = set(_OPTION.findall(capsys.readouterr().out)) | {"--help", "--version"} | OF_OTHERS
    for command in known_commands.values():
        for parameter in command.params:
            options.update(parameter.opts)
    advised = named(_OPTION)
    assert len(advised) > 50
    assert {each for each in advised if each[0] not in options} == set()


def test_every_command_that_a_text_names_exists(known_commands):
    advised = named(_COMMAND)
    assert len(advised) > 5
    assert {each for each in advised if each[0] not in known_commands} == set()


def test_every_extra_that_a_text_names_exists():
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    advised = named(_EXTRA)
    assert len(advised) > 3
    assert {each for each in advised if each[0] not in project["optional-dependencies"]} == set()

"""The options of commands that choose the game of explanations, declared from the table of games."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any

import typer

from mlrf.cli.path_arguments import path_option
from mlrf.model.explanation_kinds import GAME_OPTIONS

Command = Callable[..., None]


def with_game_options(name: str, options: Callable[[], Iterator[Parameter]]) -> Callable[[Command], Command]:
    """Return a decorator of a command that declares options in the place of its parameter `name`, {parameter: value}."""

    def decorate(command: Command) -> Command:
        declared = signature(command, eval_str=True)
        added = {each.name: each for each in options()}

        @wraps(command)
        def with_options(**arguments: Any) -> None:
            games = {key: arguments.pop(key) for key in added}
            command(**arguments, **{name: games})

        parameters: list[Parameter] = []
        for each in declared.parameters.values():
            parameters += added.values() if each.name == name else [each]
        with_options.__signature__ = declared.replace(parameters=parameters)  # type: ignore[attr-defined]
        with_options.__annotations__ = {each.name: each.annotation for each in parameters}
        return with_options

    return decorate


def build_options() -> Iterator[Parameter]:
    """Yield the options of `mlrf build`: the file of each game's option."""
    for option in GAME_OPTIONS:
        yield _parameter(option.name, Annotated[Path | None, path_option(option.build_help)], None)


def explain_options() -> Iterator[Parameter]:
    """Yield the options of `mlrf explain`: a file, or that of the bundle, for each game's option."""
    for option in GAME_OPTIONS:
        yield _parameter(option.name, Annotated[Path | None, path_option(option.given_help)], None)
        stored = typer.Option(f"--stored-{option.name}", help=option.stored_help)
        yield _parameter(stored_parameter(option.name), Annotated[bool, stored], False)


def stored_parameter(name: str) -> str:
    """Return the parameter of `mlrf explain` that chooses the bundle's file for an option."""
    return f"stored_{name}"


def _parameter(name: str, kind: Any, default: Any) -> Parameter:
    return Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=kind)

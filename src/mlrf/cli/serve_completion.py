"""Shell completion of `mlrf serve`, made from the declarations of its options, because argparse parses its arguments.

Where it offers nothing (for BUNDLE, and after options with a path or a number), the shell offers file names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from inspect import Parameter, Signature
from typing import Any

import typer
from typer.core import TyperCommand
from typer.main import get_command


class ServeCommand(TyperCommand):
    """The entry of `mlrf serve` in typer's table; it has options only while a shell completes a line."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters of the command, with all options of `mlrf serve` for a completion."""
        declared: list[Any] = super().get_params(ctx)
        return [*declared, *_options()] if ctx.resilient_parsing else declared


def _options() -> list[Any]:
    """Return the options as typer creates them for a function with a parameter for each."""

    def declared() -> None: ...

    parameters = list(_parameters())
    declared.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    declared.__annotations__ = {each.name: each.annotation for each in parameters}
    command = typer.Typer(add_completion=False, rich_markup_mode=None)
    command.command()(declared)
    return get_command(command).params


def _parameters() -> Iterator[Parameter]:
    from mlrf.serving.config.settings import OPTIONS  # noqa: PLC0415  0.1 s that other commands need not wait for

    yield _parameter("config", str, typer.Option(None, "--config", help="read options from a TOML file"))
    yield _parameter("print_config", bool, typer.Option(False, "--print-config", help="show the options in force"))
    yield _parameter("help", bool, typer.Option(False, "--help", "-h", help="show the help and exit"))
    for each in OPTIONS:
        if each.positional:
            continue
        if each.kind is bool:
            flags = f"{each.flag}/--no-{each.flag.removeprefix('--')}"
            yield _parameter(each.key, bool, typer.Option(False, flags, help=each.help))
        else:
            choose = _starting(each.choices)
            kind = list[str] if each.many else str
            yield _parameter(each.key, kind, typer.Option(None, each.flag, help=each.help, autocompletion=choose))


def _parameter(name: str, kind: Any, option: Any) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, default=option, annotation=kind)


def _starting(choices: tuple[str, ...]) -> Callable[[str], list[str]]:
    def starting(incomplete: str) -> list[str]:
        return [each for each in choices if each.startswith(incomplete)]

    return starting

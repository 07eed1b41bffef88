"""Declares options of the server: each once, as a field of the settings, with its default, its check and its help.

    max_batch: int = option(100, "instances a batch may hold", group=Group.REQUESTS, metavar="N", check=at_least(1))

The names follow from the field: `--max-batch`, `MLRF_MAX_BATCH`, and `max_batch` in a settings file; a unit at the end of the
field's name (`_s`) is dropped. config/loader.py reads options, and writes `--help` and `--print-config`, from these
declarations. A test compares the table in docs/reference/options.md with them.

Settings are msgspec structs: a dataclass compiles its methods when it is imported, and all settings together took 5 % of the
processor time of a start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from mlrf.core.errors import ConfigError

Check = Callable[[Any], str | None]
"""Takes a value and returns what is wrong with it, to be printed after the option's name; None if it is valid."""
Kind = type[Any]
"""str, int, float, bool or Path."""


class Group(StrEnum):
    """The headings of options in `--help`, in this order."""

    LISTENING = "listening"
    MODELS = "models"
    REQUESTS = "requests"
    LIMITS = "limits"
    ACCESS = "access"
    FEATURES = "features"
    CACHE = "cache"
    PROCESSES = "processes"
    TELEMETRY = "logs and traces"


class Option(msgspec.Struct, frozen=True):
    """One option: `path` leads from the settings to its field, through settings within settings."""

    help: str
    group: Group
    kind: Kind
    many: bool
    check: Check
    choices: tuple[str, ...]
    metavar: str
    positional: bool
    secret: bool
    """Whether `--print-config` does not show the value."""
    fixed: bool
    """Whether it is used before the workers are forked, so that a reload (SIGHUP) refuses another value."""
    changes_answers: bool
    """Whether the answer to a body depends on it: servers with other values share no cached answers."""
    path: tuple[str, ...] = ()
    default: Any = None
    computed: bool = False
    """Whether the default is computed at the start."""

    @property
    def key(self) -> str:
        """Its name in a settings file."""
        return self.path[-1].removesuffix("_s")

    @property
    def flag(self) -> str:
        """Its name on the command line."""
        return self.metavar if self.positional else "--" + self.key.replace("_", "-")

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return "MLRF_" + self.key.upper()

    def problem_with(self, value: Any) -> str | None:
        """Return what is wrong with a value of the right type, or None."""
        if value is None and self.default is None:
            return None
        for each in value if self.many else (value,):
            if self.choices and each not in self.choices:
                return f"{each!r} is not one of {', '.join(self.choices)}"
            if (wrong := self.check(each)) is not None:
                return wrong
        return None


def option(
    default: Any,
    help: str,  # noqa: A002  as in argparse
    *,
    group: Group,
    kind: Kind | None = None,
    check: Check = lambda _value: None,
    choices: tuple[str, ...] = (),
    metavar: str = "",
    positional: bool = False,
    secret: bool = False,
    fixed: bool = False,
    changes_answers: bool = False,
) -> Any:
    """Declare a field of the settings as an option.

    `default`: a value; a tuple if the option may be given several times; None if it has no value by default (both then need
    `kind`, the type of one value); a function if it is computed at the start. `check` is called with each value. `fixed`: it is
    used before the workers are forked, so that a reload refuses another value. `changes_answers`: the answer to a body
    depends on it, so that servers with other values share no cached answers.
    """
    computed = callable(default)
    sample = default() if computed else default
    many = isinstance(sample, tuple)
    kind = kind or type(sample)
    default_metavar = {int: "N", float: "S", Path: "FILE"}.get(kind, "NAME")
    shown = "{" + ",".join(choices) + "}" if choices else metavar or default_metavar
    declared = Option(
        help, group, kind, many, check, choices, shown, positional, secret, fixed, changes_answers, (), sample, computed
    )
    return msgspec.field(default_factory=_Default(declared, default if computed else lambda: default))


class _Default:
    """Returns the default of a field that is an option; it stands in the settings, where `options_of` finds the option."""

    __slots__ = ("declared", "value")

    def __init__(self, declared: Option, value: Callable[[], Any]) -> None:
        self.declared = declared
        self.value = value

    def __call__(self) -> Any:
        return self.value()


def options_of(settings: type[msgspec.Struct], path: tuple[str, ...] = ()) -> Iterator[Option]:
    """Yield the options that a struct declares, and those of the structs that are its fields."""
    for name, factory in _factories(settings):
        if isinstance(factory, _Default):
            yield msgspec.structs.replace(factory.declared, path=(*path, name))
        else:
            yield from options_of(factory, (*path, name))


def build_settings(
    settings: type[msgspec.Struct], values: dict[tuple[str, ...], Any], path: tuple[str, ...] = ()
) -> Any:
    """Return settings with the values, which are given by the path of their option, and defaults for all other options."""
    given: dict[str, Any] = {}
    for name, factory in _factories(settings):
        here = (*path, name)
        if here in values:
            given[name] = values[here]
        elif not isinstance(factory, _Default):
            given[name] = build_settings(factory, values, here)
    return settings(**given)


def value_in(settings: Any, declared: Option) -> Any:
    """Return the value of an option in the settings."""
    for name in declared.path:
        settings = getattr(settings, name)
    return settings


def check_all(settings: Any, options: tuple[Option, ...]) -> None:
    """Check the value of every option; ConfigError names the first invalid one."""
    for each in options:
        if (wrong := each.problem_with(value_in(settings, each))) is not None:
            raise refused(each, wrong)


def refused(declared: Option, reason: str, source: str | None = None) -> ConfigError:
    """Return the error for an invalid value: it names the option, the source of the value, and the reason."""
    return ConfigError(f"{source or declared.flag}: {reason}", option=declared.flag)


def between(least: float, most: float, unit: str = "") -> Check:
    """Return a check that a number is between `least` and `most`, both included."""
    return lambda value: None if least <= value <= most else f"{value:g} is not {least:g} to {most:g}{unit}"


def at_least(least: float) -> Check:
    """Return a check that a number is at least `least`."""
    return lambda value: None if value >= least else f"{value:g} is less than {least:g}"


def seconds(least: float = 0.0, most: float = 86400.0) -> Check:
    """Return a check that a number is a time in seconds: above 0, or at least `least` if given, and at most `most`."""

    def check(value: float) -> str | None:
        if least and not value >= least:
            return f"{value:g} is not {least:g} to {most:g} seconds"
        if not value > 0:
            return f"{value:g} is not above 0"
        return None if value <= most else f"{value:g} is more than {most:g} seconds"

    return check


def _factories(settings: type[msgspec.Struct]) -> Iterator[tuple[str, Any]]:
    """Yield the name of each field with what makes its default: a `_Default`, or a struct of settings."""
    for name, default in zip(settings.__struct_fields__, settings.__struct_defaults__, strict=True):
        yield name, default.factory

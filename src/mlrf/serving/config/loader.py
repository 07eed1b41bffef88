"""Loads the settings; precedence: command line > environment > settings file > the platform's variables > default.

A name that is not an option, or an invalid value, stops the start with an error that names both. Loading opens no socket and no
bundle, so settings can be loaded again while serving.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from mlrf.core.errors import ConfigError
from mlrf.core.lazy_pattern import lazy_pattern
from mlrf.serving.config.argument_parser import CONFIG_VARIABLE, Usage, argument_parser
from mlrf.serving.config.mounted_models import STORAGE_URI, find_mounted
from mlrf.serving.config.settings import OPTIONS, ServeSettings
from mlrf.serving.option import Group, Option, build_settings, refused, value_in
from mlrf.serving.platforms.settings import VARIABLES
from mlrf.stores.address import is_address, path_text, split_paths

_PREFIX = "MLRF_"
_NO_OPTIONS = frozenset((CONFIG_VARIABLE, "MLRF_KERNEL_LEVEL"))
_SERVICE_LINK = lazy_pattern(
    r"MLRF_(\w+_)?(SERVICE_(HOST|PORT)(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)
_LINK_VALUE = lazy_pattern(r"(tcp|udp|sctp)://.*")
_WHOLE = lazy_pattern(r"[+-]?[0-9]{1,18}")
_TRUTHS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
_COMMAND_LINE, _DEFAULT = "command line", "default"


class Configuration(msgspec.Struct, frozen=True):
    """The settings, the origin of each, and whether they are only to be shown (`--print-config`)."""

    settings: ServeSettings
    origins: Mapping[str, str]
    """By option key; options with their default value are not included."""
    print_only: bool

    def text(self) -> str:
        """Return every effective value with its origin, as a settings file."""
        lines = []
        for each in OPTIONS:
            value = value_in(self.settings, each)
            line = f"{each.key} = {_as_toml(value)}"
            if value is None or (each.secret and value):
                line = f"# {each.key} is {'not set' if value is None else 'set, and not shown'}"
            lines.append(f"{line:<44}  # {self.origins.get(each.key, _DEFAULT)}")
        return "\n".join(lines) + "\n"


def read_settings(argv: Sequence[str], environ: Mapping[str, str]) -> ServeSettings:
    """Return the settings from arguments, environment and settings file; ConfigError names an invalid value and its origin.

    Raises SystemExit(2) for an argument that is not an option.
    """
    return read_configuration(argv, environ).settings


def read_configuration(argv: Sequence[str], environ: Mapping[str, str]) -> Configuration:
    """Return the settings with their origins; errors as `read_settings`."""
    found, print_only = gather(argv, environ)
    values = {option.path: value for option, (value, _) in found.items()}
    origins = {option.key: origin for option, (_, origin) in found.items()}
    return Configuration(build_settings(ServeSettings, values), origins, print_only)


def gather(argv: Sequence[str], environ: Mapping[str, str]) -> tuple[dict[Option, tuple[Any, str]], bool]:
    """Return the values from all sources, each checked by itself, and whether they are only to be shown."""
    parser = argument_parser()
    parser.usage = Usage()  # type: ignore[assignment]
    given = vars(parser.parse_intermixed_args(list(argv)))
    file = given["config"] or environ.get(CONFIG_VARIABLE)
    in_file = _in_file(Path(file)) if file else {}
    found = {**in_file, **_in_environment(environ), **_in_arguments(given)}
    found |= _of_platform(environ, found)
    return {**found, **_mounted(environ, found)}, given["print_config"]


Found = dict[Option, tuple[Any, str]]
"""The values of one source, each with a description of its source."""


def _in_arguments(given: Mapping[str, Any]) -> Found:
    found: Found = {}
    for each in OPTIONS:
        texts = given[each.key]
        if texts is None or texts == []:
            continue
        value = texts if isinstance(texts, bool) else _read_texts(each, texts if each.many else [texts], each.flag)
        found[each] = value, _COMMAND_LINE
    return found


def _in_environment(environ: Mapping[str, str]) -> Found:
    by_variable = {each.variable: each for each in OPTIONS}
    found: Found = {}
    for name, text in sorted(environ.items()):
        if not name.startswith(_PREFIX) or name in _NO_OPTIONS or _is_service_link(name, text):
            continue
        option = by_variable.get(name)
        if not text:
            if option is not None and option.group is Group.ACCESS:
                # A secret that was not filled in must not turn protection off.
                raise refused(option, "the variable is set but empty; give it a value, or unset it", name)
            continue
        if option is None:
            raise ConfigError(
                f"{name}: the environment sets an option that mlrf serve does not have{_suggestion(name, by_variable)}",
                option=name,
            )
        split = split_paths(text) if option.kind is Path else [part for part in text.split(",") if part]
        texts = split if option.many else [text]
        found[option] = _read_texts(option, texts, name), name
    return found


def _of_platform(environ: Mapping[str, str], found: Found) -> Found:
    """Return the values of the chosen platform's variables, for options that nothing else sets."""
    by_key = {each.key: each for each in OPTIONS}
    platform, _ = found.get(by_key["platform"], (None, ""))
    settings: Found = {}
    for name, key in VARIABLES.get(platform, {}).items():
        if by_key[key] not in found and (text := environ.get(name)):
            settings[by_key[key]] = _read_texts(by_key[key], [text], name), name
    return settings


def _mounted(environ: Mapping[str, str], found: Found) -> Found:
    """Return the bundle that a platform has mounted, if `--find-bundle` is set and no bundle is named."""
    by_key = {each.key: each for each in OPTIONS}
    bundles = by_key["bundles"]
    if bundles in found or not found.get(by_key["find_bundle"], (False, ""))[0]:
        return {}
    platform, _ = found.get(by_key["platform"], (None, ""))
    storage_uri = environ.get(STORAGE_URI) if platform == "vertex" else None
    return {bundles: ((find_mounted(storage_uri),), "found where it is mounted")}


def _is_service_link(name: str, text: str) -> bool:
    """Whether a variable is one that Kubernetes and Docker set in every container for a service named mlrf."""
    if _SERVICE_LINK.fullmatch(name) is None:
        return False
    return "_SERVICE_" in name or re.search(r"_PORT_\d", name) is not None or _LINK_VALUE.fullmatch(text) is not None


def _in_file(file: Path) -> Found:
    import tomllib  # noqa: PLC0415  most servers have no file

    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"--config: {file} cannot be read: {error.strerror}", option="--config") from error
    except (ValueError, RecursionError) as error:
        # ValueError and RecursionError too: numbers of thousands of digits, deeply nested lists.
        raise ConfigError(f"--config: {file} is not TOML: {error}", option="--config") from error
    by_key = {each.key: each for each in OPTIONS}
    found: Found = {}
    for key, value in document.items():
        option = by_key.get(key)
        if option is None:
            raise ConfigError(f"{file}: {key!r} is not an option of mlrf serve{_suggestion(key, by_key)}", option=key)
        source = f"{file}: {key}"
        if option.many and not isinstance(value, list):
            raise refused(option, f"{value!r} is not a list", source)
        read = [_read_toml(option, each, file, source) for each in (value if option.many else [value])]
        found[option] = _checked(option, tuple(read) if option.many else read[0], source), str(file)
    return found


def _read_texts(option: Option, texts: Sequence[str], source: str) -> Any:
    values = tuple(_read_text(option, text, source) for text in texts)
    return _checked(option, values if option.many else values[0], source)


def _read_text(option: Option, text: str, source: str) -> Any:
    if option.kind is bool:
        if text.lower() not in _TRUTHS:
            raise refused(option, f"{text!r} is neither true nor false", source)
        return _TRUTHS[text.lower()]
    if option.kind is int:
        if _WHOLE.fullmatch(text) is None:
            raise refused(option, f"{text!r} is not a whole number", source)
        return int(text)
    if option.kind is float:
        try:
            return float(text)
        except ValueError as error:
            raise refused(option, f"{text!r} is not a number", source) from error
    if not text:
        raise refused(option, "its value is empty", source)
    return text if option.kind is str else Path(text)


def _read_toml(option: Option, value: Any, file: Path, source: str) -> Any:
    """Return a value of a settings file; paths in it are relative to the file's directory."""
    kinds: dict[type, tuple[tuple[type, ...], str]] = {
        bool: ((bool,), "true or false"),
        int: ((int,), "a whole number"),
        float: ((int, float), "a number"),
        str: ((str,), "a text"),
        Path: ((str,), "a path"),
    }
    taken, name = kinds[option.kind]
    if type(value) not in taken or value == "":
        raise refused(option, f"{value!r} is not {name}", source)
    is_relative = option.kind is Path and not is_address(value)
    return file.parent / value if is_relative else option.kind(value)


def _checked(option: Option, value: Any, source: str) -> Any:
    if (wrong := option.problem_with(value)) is not None:
        raise refused(option, wrong, source)
    return value


def _suggestion(name: str, known: Mapping[str, Option]) -> str:
    from difflib import get_close_matches  # noqa: PLC0415  for an error alone

    near = get_close_matches(name, known, 1, cutoff=0.8)
    return f"; did you mean {near[0]}?" if near else "; `mlrf serve --help` lists them"


def _as_toml(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(_as_toml(each) for each in value)}]"
    if isinstance(value, float):
        return repr(value)
    import json  # noqa: PLC0415  to show the settings alone

    # TOML reads strings, integers and booleans as JSON writes them.
    text = json.dumps(path_text(value) if isinstance(value, Path) else value, ensure_ascii=False)
    return text.replace("\x7f", "\\u007f")

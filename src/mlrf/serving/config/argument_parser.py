"""The parser of the command line of `mlrf serve`, and the text of its help."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from typing import Any

from mlrf.serving.config.settings import OPTIONS
from mlrf.serving.option import Option

CONFIG_VARIABLE = "MLRF_CONFIG"
_EPILOG = """\
Each option can also be set in the environment (--max-batch as MLRF_MAX_BATCH) or in a TOML file (max_batch = 100); the command
line takes precedence over the environment, the environment over the file.

examples:
  mlrf serve sales-bundle                          one model on http://127.0.0.1:8080, one worker per processor
  mlrf serve a-bundle b-bundle --default a         two models; /predict uses a, /models/b/predict uses b
  mlrf serve sales-bundle --host 0.0.0.0 --port 80 --workers 4
  mlrf serve sales-bundle --print-config > mlrf.toml && mlrf serve --config mlrf.toml

  curl localhost:8080/docs shows the routes with an example request of the served model.

exit status: 0 stopped, 1 failed, 2 an option is wrong or the port is in use, 3 a bundle is damaged
"""


class _Parser(argparse.ArgumentParser):
    def _print_message(self, message: str, file: Any = None) -> None:
        # argparse ignores errors of writing: on a full disk, half of the help would be written and the status would be 0.
        if (stream := file or sys.stderr) is not None:
            stream.write(message)


class Usage:
    """The text that argparse formats at each start for errors and help, formatted only when one of them is shown."""

    def __mod__(self, _names: object) -> str:
        return argument_parser().format_usage().removeprefix("usage: ")


def argument_parser() -> argparse.ArgumentParser:
    """Return the parser of the options, whose values stay text."""
    parser = _Parser(
        prog="mlrf serve",
        description="Serve bundles over HTTP.",
        epilog=_EPILOG,
        # Each argument is checked with a formatter of its own, which must not ask the terminal for its width.
        formatter_class=partial(argparse.RawDescriptionHelpFormatter, width=80),
        allow_abbrev=False,
    )
    parser.add_argument("--config", metavar="FILE", help=f"read options from a TOML file ({CONFIG_VARIABLE})")
    parser.add_argument("--print-config", action="store_true", help="show every option's value and where it came from")
    titles = dict.fromkeys(each.group for each in OPTIONS if not each.positional)
    groups = {
        group: parser.add_argument_group(group) for group in sorted(titles, key=list(type(OPTIONS[0].group)).index)
    }
    for each in OPTIONS:
        text = (each.help + _default_words(each)).replace("%", "%%")
        if each.positional:
            parser.add_argument(each.key, nargs="*", metavar=each.metavar, help=text)
        elif each.kind is bool:
            groups[each.group].add_argument(each.flag, action=argparse.BooleanOptionalAction, help=text)
        else:
            action = "append" if each.many else "store"
            groups[each.group].add_argument(each.flag, dest=each.key, action=action, metavar=each.metavar, help=text)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    return parser


def _default_words(option: Option) -> str:
    if option.default in (None, ()):
        return ""
    return f" ({'now ' if option.computed else ''}{shown(option.default)})"


def shown(value: Any) -> str:
    """Return a default in the form of `--help` and the documents."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)

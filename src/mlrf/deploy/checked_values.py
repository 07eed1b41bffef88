"""Checks of the values that `mlrf deploy` and `mlrf image` write into manifests, units and Containerfiles.

1. A value is written unchanged, without quotes: what would need quotes is refused with a ConfigError that names the option.
2. A value in YAML must be read back as text: `true`, `null`, `1e5` and `2026-01-01` are refused, for YAML reads them as
   other types.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple

from mlrf.core.errors import ConfigError


class Rule(NamedTuple):
    """A pattern of values, and the same in words."""

    pattern: re.Pattern[str]
    expected: str
    is_yaml: bool = True


_DNS_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_IMAGE_PART = r"[a-z0-9]+([._-]+[a-z0-9]+)*"
_HOST_PORT = r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?"
_NOT_TEXT = re.compile(
    r"~|null|true|false|yes|no|on|off|y|n|[-+]?[0-9][0-9_]*(\.[0-9_]*)?(e[-+]?[0-9]+)?|0x[0-9a-f_]+|0o[0-7_]+|0b[01_]+"
    r"|[0-9]+(:[0-9]+)+|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}",
    re.IGNORECASE,
)
"""Plain scalars that YAML 1.1 or 1.2 reads as something other than text."""

_NAME_TEXT = "1 to 42 characters of a-z 0-9 -, the first a letter, the last not -"
SERVICE_NAME = Rule(re.compile(r"[a-z]([a-z0-9-]{0,40}[a-z0-9])?"), _NAME_TEXT)
UNIT_NAME = SERVICE_NAME._replace(is_yaml=False)
NAMESPACE = Rule(re.compile(_DNS_LABEL), "1 to 63 characters of a-z 0-9 -, neither the first nor the last of them -")
RESOURCE_NAME = Rule(
    re.compile(rf"(?=.{{1,253}}\Z){_DNS_LABEL}(\.{_DNS_LABEL})*"),
    "a name of a-z 0-9 - ., which begins and ends with a-z 0-9",
)
HOST_NAME = Rule(
    re.compile(rf"(?=.{{1,253}}\Z)(?!([^.]*\.)*[0-9]+\Z){_DNS_LABEL}(\.{_DNS_LABEL})*"),
    "a host name in lower case (models.example.com), without * and not an address",
)
IMAGE = Rule(
    re.compile(
        rf"({_HOST_PORT}/)?{_IMAGE_PART}(/{_IMAGE_PART})*(:[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?(@sha256:[0-9a-f]{{64}})?"
    ),
    "an image (registry.example/name:tag or registry.example/name@sha256:DIGEST, the name in lower case)",
)
PATH = Rule(re.compile(r"/[\w./@+-]*"), "a path of letters, digits and . _ / @ + -", is_yaml=False)
STORE = Rule(
    re.compile(r"[a-z0-9]+:/[A-Za-z0-9._:/@+-]+"), "an address of letters, digits and . _ : / @ + -", is_yaml=False
)
URI = Rule(
    re.compile(r"[a-z][a-z0-9+-]*://[\w.:-]+(/[\w./:@%?=&+-]*)?(?<!:)"),
    "an address (s3://bucket/path) without credentials, spaces and quotes",
)
URL = Rule(
    re.compile(rf"https?://{_HOST_PORT}(/[A-Za-z0-9_.:/-]*)?(?<!:)"),
    "an address (http://host:9090) without credentials and a query",
)
FILE_NAME = Rule(re.compile(r"(?!\.+\Z)[\w.-]+"), "the name of a file, of letters, digits and . _ -", is_yaml=False)


def checked(option: str, value: str, rule: Rule) -> str:
    """Return a value if a file can contain it unchanged; ConfigError that says what the option takes for any other."""
    if rule.pattern.fullmatch(value) is None:
        raise ConfigError(f"{option}: {value!r} is not {rule.expected}", option=option)
    if rule.is_yaml and _NOT_TEXT.fullmatch(value):
        raise ConfigError(
            f"{option}: YAML reads {value!r} as a number, a date, null or true or false; give another one",
            option=option,
        )
    return value


def checked_address(option: str, value: str) -> tuple[str, str]:
    """Return an IP address for the server's settings and for a socket unit, which puts IPv6 in brackets."""
    try:
        address = ip_address(value.removeprefix("[").removesuffix("]") if value.startswith("[") else value)
    except ValueError as error:
        raise ConfigError(
            f"{option}: {value!r} is not an IP address; give one of this machine, 0.0.0.0 or :: for all", option=option
        ) from error
    return str(address), f"[{address}]" if isinstance(address, IPv6Address) else str(address)


def image_name(model: str) -> str:
    """Return the name of an image for a model: in lower case, without what names of images do not allow."""
    return re.sub(r"[._-]*([._-])", r"\1", model.lower()).strip("._-") or "model"

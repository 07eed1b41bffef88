"""`mlrf keys`: the file of hashed keys that `mlrf serve --keys` reads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from mlrf.core.errors import ConfigError
from mlrf.serving.auth.keys import SCOPES, make_key, read_keys, write_keys

_NAME = re.compile(r"[A-Za-z0-9._:@/-]{1,64}")


def keys(
    file: Annotated[Path, typer.Argument(help="The key file; --add creates it.")],
    add: Annotated[str | None, typer.Option(metavar="NAME", help="Make a key for NAME and print it, once.")] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SCOPE", help="Scope of the new key: predict, explain, admin or metrics; repeat for several."
        ),
    ] = None,
    revoke: Annotated[
        str | None, typer.Option(metavar="NAME", help="Remove the keys of NAME, or the key with this id.")
    ] = None,
) -> None:
    """List, make and revoke API keys. Only hashes are stored; running servers apply changes within a second.

    Example: mlrf keys keys.txt --add billing --scope predict --scope explain
    """
    found = read_keys(file) if add is None or file.exists() else {}
    if add is not None and revoke is None:
        scopes = _checked(add, scope)
        key, line = make_key(add, scopes)
        write_keys(file, found | {line.id: line})
        typer.echo(key)
    elif scope or (add is not None and revoke is not None):
        raise ConfigError("--scope: it needs --add, and --revoke cannot be combined with either", option="--scope")
    elif revoke is not None:
        kept = {identity: key for identity, key in found.items() if revoke not in (key.name, identity)}
        if len(kept) == len(found):
            raise ConfigError(f"--revoke: {file} has no key with the name or id {revoke!r}", option="--revoke")
        write_keys(file, kept)
        typer.echo(f"revoked {len(found) - len(kept)}")
    else:
        for key_line in found.values():
            typer.echo(f"{key_line.id}  {','.join(s for s in SCOPES if s in key_line.scopes):<22} {key_line.name}")


def _checked(name: str, scopes: list[str] | None) -> list[str]:
    if not _NAME.fullmatch(name):
        raise ConfigError(f"--add: {name!r} is not 1 to 64 letters, digits and ._:@/-", option="--add")
    wrong = [each for each in scopes or () if each not in SCOPES]
    if not scopes or wrong:
        problem = f"{wrong[0]!r} is not a scope" if wrong else "name at least one"
        raise ConfigError(f"--scope: {problem}; the scopes are {', '.join(SCOPES)}", option="--scope")
    return scopes

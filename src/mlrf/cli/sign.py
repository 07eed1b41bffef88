"""`mlrf sign`: sign a bundle; and the check of signatures that other commands make."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from mlrf.cli.bundle_argument import BundleArgument
from mlrf.cli.path_arguments import non_empty_path
from mlrf.cli.terminal_text import escaped
from mlrf.core.bundle import Bundle
from mlrf.core.named_bundle import open_bundle
from mlrf.signing.bundle_signature import sign_bundle, verify_bundle
from mlrf.signing.key_pairs import read_private_key, read_public_keys
from mlrf.signing.statement import Provenance


def sign(
    bundle: BundleArgument,
    key: Annotated[Path, typer.Option(parser=non_empty_path, metavar="FILE", help="Private key (PEM) to sign with.")],
    passphrase_file: Annotated[
        Path | None,
        typer.Option(parser=non_empty_path, metavar="FILE", help="File with the passphrase of an encrypted key."),
    ] = None,
    source: Annotated[
        list[Path] | None,
        typer.Option(
            parser=non_empty_path,
            metavar="FILE",
            help="File that the bundle was built from; its digest is recorded. Repeatable.",
        ),
    ] = None,
    built_by: Annotated[
        str, typer.Option(metavar="TEXT", help="Who or what built it, such as the URL of a pipeline's run.")
    ] = "",
) -> None:
    """Sign a bundle: write `model.sig` into its directory. Its version stays the same.

    The signature covers every file, and records what was built from which files, by whom, with which versions.

    Example: mlrf sign sales --key release.key --source model.txt --built-by "training pipeline, run 1234"
    """
    found = open_bundle(bundle)
    private = read_private_key(key, passphrase_file)
    path = sign_bundle(found, private, built_by=built_by, sources=source or [])
    typer.echo(escaped(f"{path}: {found.name} {found.short_version} signed with key {private.id[:12]}"))


def check_identity(bundle: Bundle, identity: Sequence[Path], *, quiet: bool = False) -> None:
    """Print who signed a bundle and its provenance; BundleError when none of the keys in these files did."""
    verified = verify_bundle(bundle, read_public_keys(identity))
    if quiet:
        return
    typer.echo(escaped(f"signed with key {verified.key.id[:12]} ({verified.key.file})"))
    for line in _provenance_lines(verified.provenance):
        typer.echo(escaped(line))


def _provenance_lines(provenance: Provenance) -> list[str]:
    builder = provenance.run_details.builder
    lines = [f"  built by {builder.id}"] if builder.id else []
    lines += [
        f"  from {each.name}, sha256 {each.digest.get('sha256', 'not given')}"
        for each in provenance.build_definition.resolved_dependencies
    ]
    if builder.version:
        lines.append("  with " + ", ".join(f"{name} {version}" for name, version in builder.version.items()))
    return lines

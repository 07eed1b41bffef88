"""`mlrf keygen`: a pair of keys to sign bundles with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlrf.cli.path_arguments import non_empty_path
from mlrf.signing.key_pairs import generate


def keygen(
    file: Annotated[
        Path, typer.Argument(help="The private key's file; the public one gets `.pub` added.", parser=non_empty_path)
    ],
    passphrase_file: Annotated[
        Path | None,
        typer.Option(
            parser=non_empty_path, metavar="FILE", help="Encrypt the private key with the passphrase in this file."
        ),
    ] = None,
) -> None:
    """Make a pair of keys (ECDSA P-256, PEM): one to sign bundles with, and one for servers to verify them.

    Pairs that openssl makes will do too: Ed25519, or ECDSA on P-256, P-384 or P-521.

    Example: mlrf keygen release.key
    """
    public = generate(file, passphrase_file)
    typer.echo(f"{file}: private key, for `mlrf sign --key`; keep it off servers")
    typer.echo(f"{public.file}: public key {public.id[:12]}, for `mlrf serve --require-signature`")

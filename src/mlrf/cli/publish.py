"""`mlrf publish` and `mlrf rollback`: change the current version of a model in a repository."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from mlrf.cli.bundle_argument import BundleArgument
from mlrf.cli.path_arguments import non_empty_path, path_or_address
from mlrf.cli.progress import upload_progress
from mlrf.cli.sign import check_identity
from mlrf.core import publishing
from mlrf.core.bundle import Bundle
from mlrf.core.errors import ConfigError
from mlrf.core.named_bundle import open_model_directory
from mlrf.engines.selection import open_engine
from mlrf.features.stored_files import check_stored_files
from mlrf.model.replay import replay
from mlrf.model.row_predictor import RowPredictor
from mlrf.stores.address import Address, is_address, parse_address
from mlrf.stores.open_store import open_writer
from mlrf.stores.publishing import publish_to_store

REPLAY_LIMIT_S = 30.0
"""Seconds that the replay of golden rows may take."""
STORE_TIMEOUT_S = 60.0
"""Seconds to wait for each answer of a store."""

_IDENTITY = typer.Option(
    parser=non_empty_path, metavar="KEY", help="Public key (PEM) that must have signed it; repeat for any of several."
)


def publish(
    bundle: BundleArgument,
    repository: Annotated[
        Path,
        typer.Argument(
            help="The repository's directory, created when missing, or its address; or a tag of a registry: oci://HOST/NAME:TAG.",
            parser=path_or_address,
        ),
    ],
    allow_schema_change: Annotated[
        bool,
        typer.Option(
            "--allow-schema-change", help="Publish even if the schema changed so that clients have to change."
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="In a registry of images, move a tag that points to another bundle.")
    ] = False,
    identity: Annotated[list[Path] | None, _IDENTITY] = None,
) -> None:
    """Copy a bundle into a model repository as the next version of its model, and point to it.

    Its golden rows are replayed first: a bundle that a server would refuse is not published. Servers of the repository activate
    the version by themselves if every worker can; `mlrf diff` shows beforehand what would change. Publishing the same bundle
    again points to it, and makes servers that refused it try again. If the command is killed, the pointer is either the old or
    the new one. In a registry of images, a bundle is an artefact, and its tag is the pointer.

    Example: mlrf publish sales-bundle models
    """
    prove = partial(_prove, identity=identity)
    if is_address(repository) and (address := parse_address(repository)).scheme == "oci":
        _publish_to_registry(bundle, address, force=force, allow_schema_change=allow_schema_change, prove=prove)
        return
    if force:
        raise ConfigError(
            f"--force moves a tag of a registry (oci://); to add a version to {repository}, leave it out",
            option="--force",
        )
    if is_address(repository):
        store = open_writer(parse_address(repository), STORE_TIMEOUT_S)
        name, version = publish_to_store(bundle, store, allow_schema_change=allow_schema_change, prove=prove)
        typer.echo(f"{store.resolved}/{name}: version {version} is current")
        return
    model_directory, version = publishing.publish(
        bundle, repository, allow_schema_change=allow_schema_change, prove=prove
    )
    typer.echo(f"{model_directory.path}: version {version} is current")


def _publish_to_registry(bundle: Path, address: Address, **options: Any) -> None:
    from mlrf.stores.oci_publishing import publish_to_registry  # noqa: PLC0415  needs the extra

    with upload_progress() as on_bytes:
        found = publish_to_registry(bundle, address, STORE_TIMEOUT_S, on_bytes=on_bytes, **options)
    state = "published" if found.is_new else "is there already"
    typer.echo(f"{found.resolved}: {found.name} {found.version} {state}")


def _prove(bundle: Bundle, identity: list[Path] | None) -> None:
    """Check the signature, the golden rows in the engine that would serve, and rows by key; BundleError when one fails."""
    if identity:
        check_identity(bundle, identity, quiet=True)
    replay(RowPredictor(bundle, open_engine(bundle)), limit_s=REPLAY_LIMIT_S)
    check_stored_files(bundle)


def rollback(
    model: Annotated[Path, typer.Argument(help="A model of a repository: REPOSITORY/NAME.", parser=non_empty_path)],
    to: Annotated[str | None, typer.Option("--to", help="A number or the first digits of a digest.")] = None,
    identity: Annotated[list[Path] | None, _IDENTITY] = None,
) -> None:
    """Point a model of a repository to the version that was current before, or to another one.

    The version's golden rows are replayed first.

    Example: mlrf rollback models/sales
    """
    version = publishing.rollback(open_model_directory(model), to, prove=partial(_prove, identity=identity))
    typer.echo(f"{model}: version {version} is current")

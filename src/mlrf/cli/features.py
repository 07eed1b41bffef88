"""`mlrf features`: load, push, get and count rows by key in the store that a server reads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from mlrf.cli.keyed_files import read_key_text, read_rows
from mlrf.cli.path_arguments import non_empty_path
from mlrf.cli.progress import progress_console
from mlrf.cli.terminal_text import escaped, escaped_json
from mlrf.core.bundle import Bundle
from mlrf.core.errors import ConfigError, KeyNotFoundError, RowsError
from mlrf.core.json_infinities import encoded_infinities
from mlrf.core.named_bundle import open_bundle
from mlrf.features.interface import FeatureStore
from mlrf.features.local_folders import default_state_dir, local_folders
from mlrf.features.open_stores import address_forms
from mlrf.features.row_format import RowFormat, row_format
from mlrf.features.row_json import show_document
from mlrf.features.seed_store import mark_seeded

features = typer.Typer(
    name="features",
    help="Rows by key: load, push, get and count them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

BundlePath = Annotated[
    Path,
    typer.Argument(
        parser=non_empty_path, metavar="bundle", help="The bundle that the rows are for, or REPOSITORY/NAME[@VERSION]."
    ),
]
RowsPath = Annotated[Path, typer.Argument(parser=non_empty_path, metavar="rows", help="The file of rows.")]
StateDir = Annotated[
    Path | None,
    typer.Option(
        "--state-dir", parser=non_empty_path, metavar="DIR", help="The server's --state-dir (default: as the server's)."
    ),
]
StoreUrl = Annotated[
    str | None, typer.Option("--features", metavar="URL", help=f"Address of a shared store: {address_forms()}.")
]
AsOf = Annotated[str | None, typer.Option(help="Column with the as-of time.")]
Partial = Annotated[
    bool, typer.Option("--partial", help="Allow rows that lack some features; requests send the rest as overrides.")
]


@features.command()
def load(
    bundle: BundlePath,
    rows: RowsPath,
    state_dir: StateDir = None,
    url: StoreUrl = None,
    as_of_column: AsOf = None,
    partial: Partial = False,
) -> None:
    """Replace all rows by those of a Parquet file, atomically and while serving.

    The file is streamed: it need not fit into memory. Until the load is complete, the old rows are served; rows pushed
    meanwhile are kept. Of rows with the same key the one with the latest as-of time is kept; without --as-of-column such rows
    are refused, and nothing is changed.

    Example: mlrf features load sales rows.parquet --as-of-column updated_at --state-dir /var/lib/mlrf
    """
    from mlrf.features.rows_parquet import RowsFile  # noqa: PLC0415  --help needs no pyarrow

    found, format_ = _keyed(bundle)
    file = RowsFile(rows, format_, as_of_column=as_of_column, partial=partial)
    if not file.n_rows:
        raise RowsError(f"{rows} contains no rows, and a load replaces all stored rows; nothing was changed")
    with _bar(file.n_rows) as progress:
        loaded = (
            _load_shared(found, format_, file, url, progress)
            if url
            else _load_here(found, format_, file, state_dir, progress)
        )
    line = f"{loaded.rows} rows loaded"
    if loaded.superseded:
        line += f"; {loaded.superseded} left out because the file has a later row with the same key"
    print(line)


@features.command()
def push(
    bundle: BundlePath,
    rows: RowsPath,
    state_dir: StateDir = None,
    url: StoreUrl = None,
    as_of_column: AsOf = None,
    partial: Partial = False,
) -> None:
    """Insert or replace the rows of a file (Parquet, CSV or JSON lines), in one transaction and while serving.

    A row with an earlier as-of time than the stored row is skipped. A line of JSON is
    {"key": {field: value}, "features": {name: value}, "as_of": "2026-01-31T06:00:00Z"}.

    Example: mlrf features push sales news.jsonl --state-dir /var/lib/mlrf
    """
    found, format_ = _keyed(bundle)
    given = read_rows(rows, format_, as_of_column=as_of_column, partial=partial)
    pushed = _query_store(found, format_, state_dir, url, lambda store: store.push(given))
    line = f"{pushed.written} rows pushed"
    if pushed.older:
        line += f"; {pushed.older} left out because a later row with the same key is stored"
    print(line)


@features.command()
def get(
    bundle: BundlePath,
    key: Annotated[list[str], typer.Argument(help="The fields of the key: store_id=54 date=2026-01-31")],
    state_dir: StateDir = None,
    url: StoreUrl = None,
) -> None:
    """Print the row of one key as JSON, in the format of `push`.

    Example: mlrf features get sales store_id=54 date=2026-01-31
    """
    found, format_ = _keyed(bundle)
    values = read_key_text(key, format_.key)
    encoded = format_.key.encode(values)
    row = _query_store(found, format_, state_dir, url, lambda store: store.fetch([encoded]))[0]
    if row is None:
        raise KeyNotFoundError(f"no row is stored under the key {escaped_json(values)}", key=values)
    document = show_document(encoded, row, format_)
    document["features"] = encoded_infinities(document["features"])
    typer.echo(escaped_json(document, indent=2))


@features.command()
def stats(bundle: BundlePath, state_dir: StateDir = None, url: StoreUrl = None) -> None:
    """Print the location of the store, its number of rows, and their source, as JSON."""
    found, format_ = _keyed(bundle)
    typer.echo(escaped_json(_query_store(found, format_, state_dir, url, lambda store: store.stats()), indent=2))


def _keyed(path: Path) -> tuple[Bundle, RowFormat]:
    bundle = open_bundle(path)
    rows = row_format(bundle)
    if rows is None:
        raise ConfigError(f"{path} is not served by key; build it with --key")
    return bundle, rows


def _check_url(url: str | None) -> None:
    from mlrf.features.open_stores import wrong_in_address  # noqa: PLC0415  --help needs no store

    if url is not None and (wrong := wrong_in_address(url)) is not None:
        raise ConfigError(f"--features: {wrong}")


def _query_store(
    bundle: Bundle, rows: RowFormat, state_dir: Path | None, url: str | None, query: Callable[[FeatureStore], Any]
) -> Any:
    """Return the result of `query` on the bundle's store, after importing the bundle's own rows."""
    from mlrf.features.open_stores import open_rows  # noqa: PLC0415  --help needs no LMDB

    _check_url(url)
    store = open_rows(bundle, rows, state_dir or default_state_dir(), url, timeout_s=10.0)

    async def whole() -> Any:
        try:
            return await query(store)
        finally:
            await store.close()

    return asyncio.run(whole())


def _load_here(
    bundle: Bundle, rows: RowFormat, file: Any, state_dir: Path | None, progress: Callable[[int], None]
) -> Any:
    from mlrf.features.bulk_load import load_rows  # noqa: PLC0415
    from mlrf.features.lmdb_store import LmdbStore  # noqa: PLC0415

    folders = local_folders(state_dir or default_state_dir(), bundle, rows)
    store = LmdbStore(folders.rows, rows)
    try:
        loaded = load_rows(store, file, file.path.name, progress)
    finally:
        store.release()
    # The loaded rows replace those of the bundle, which must not be imported later.
    mark_seeded(folders.rows)
    return loaded


def _load_shared(bundle: Bundle, rows: RowFormat, file: Any, url: str, progress: Callable[[int], None]) -> Any:
    from mlrf.features.open_stores import open_shared  # noqa: PLC0415

    _check_url(url)

    async def whole() -> Any:
        store = open_shared(url, bundle.name, rows)
        try:
            return await store.load(file, file.path.name, progress)
        finally:
            await store.close()

    return asyncio.run(whole())


@contextmanager
def _bar(n_rows: int) -> Iterator[Callable[[int], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=progress_console()) as bars:
        task = bars.add_task(escaped("loading rows"), total=n_rows)
        yield lambda done: bars.update(task, completed=done)

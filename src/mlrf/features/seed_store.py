"""Imports a bundle's rows and explanations into the stores under the state directory, before the bundle is first served.

Reading Parquet needs pyarrow, which takes 0.2 s and 60 MB and starts threads. A short-lived child process does it (`python -m
mlrf.features.seed_store`), and only if something is not imported yet. If several servers start at once, one imports the rows
and the others wait.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from mlrf.core.bundle import Bundle, read_bundle
from mlrf.core.errors import BundleError, ConfigError, MlrfError, RowsError
from mlrf.core.manifest import EXPLANATIONS, FEATURES
from mlrf.core.parent_death import die_with_parent
from mlrf.features.local_folders import SEEDED, LocalFolders, local_folders
from mlrf.features.row_format import RowFormat, row_format

_LIMIT_S = 3600.0
_MODULE = "mlrf.features.seed_store"
_BAD_BUNDLE = 3


def import_rows(bundle: Bundle, state_dir: Path, *, shared: bool = False) -> bool:
    """Import the rows and explanations of a bundle unless that was done before; return whether anything was imported.

    `shared`: the rows are in a shared store, and only the explanations are imported. ConfigError when the state
    directory cannot be used or pyarrow is missing; BundleError when the bundle's files cannot be read.
    """
    rows = row_format(bundle)
    if rows is None or local_folders(state_dir, bundle, rows).is_seeded(bundle, shared=shared):
        return False
    if importlib.util.find_spec("pyarrow") is None:
        raise ConfigError(
            f"{bundle.path} contains rows that have not been loaded on this machine yet; loading them needs pyarrow: pip "
            "install 'mlrf[features]'"
        )
    command = [
        sys.executable,
        "-m",
        _MODULE,
        str(bundle.path),
        str(state_dir),
        bundle.version,
        str(int(shared)),
        str(int(bundle.follows_links)),
        str(os.getpid()),
    ]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"the rows of {bundle.path} were not loaded within {_LIMIT_S:g} s") from error
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or [f"its process ended with {done.returncode}"]
        kind = BundleError if done.returncode == _BAD_BUNDLE else ConfigError
        raise kind(f"the rows of {bundle.path} could not be loaded: {reason[0]}")
    return True


def main(argv: Sequence[str]) -> int:
    """Import the rows and explanations of a bundle; write the reason of a failure to standard error."""
    path, state_dir, version, shared, follows_links, parent = argv
    die_with_parent(int(parent))
    try:
        bundle = read_bundle(path, allow_links=follows_links == "1")
        if bundle.version != version:
            raise BundleError(f"{path} was replaced during the start; start again")
        rows = row_format(bundle)
        if rows is not None:
            _take(bundle, rows, local_folders(Path(state_dir), bundle, rows), shared=shared == "1")
    except MlrfError as error:
        # On one line, because the parent process reads only the last line, and that of a library's message may be useless.
        sys.stderr.write(" ".join(str(error).split()) + "\n")
        return _BAD_BUNDLE if isinstance(error, BundleError) else 1
    return 0


def mark_seeded(folder: Path) -> None:
    """Mark an environment as seeded: it holds the rows of its bundle, or rows loaded since."""
    with suppress(OSError):  # a read-only disk: the check is repeated each time
        (folder / SEEDED).touch()


def _take(bundle: Bundle, rows: RowFormat, folders: LocalFolders, *, shared: bool) -> None:
    folder = folders.rows.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / "seeding.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ConfigError(f"--state-dir: {folder} cannot be written: {error.strerror}", option="--state-dir") from error
    try:
        # The parent kills this process if it waits too long here.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if not shared and not folders.has_rows(bundle):
            _import_rows(bundle, rows, folders)
        if folders.explanations is not None and not folders.has_explanations():
            _take_explanations(bundle, rows, folders.explanations)
    finally:
        os.close(descriptor)


def _import_rows(bundle: Bundle, rows: RowFormat, folders: LocalFolders) -> None:
    from mlrf.features.bulk_load import load_rows  # noqa: PLC0415
    from mlrf.features.lmdb_store import LmdbStore  # noqa: PLC0415  the arbiter imports this module, but not LMDB
    from mlrf.features.rows_parquet import RowsFile  # noqa: PLC0415

    entry = bundle.manifest.rows
    store = LmdbStore(folders.rows, rows)
    try:
        if store.count().loaded_from is None:
            as_of = None if entry is None else entry.as_of_column
            file = RowsFile(bundle.file(FEATURES), rows, as_of_column=as_of, partial=True)
            load_rows(store, file, f"{FEATURES} {bundle.manifest.files[FEATURES].sha256}")
    except RowsError as error:
        raise BundleError(str(error), file=FEATURES) from error
    finally:
        store.release()
    mark_seeded(folders.rows)


def _take_explanations(bundle: Bundle, rows: RowFormat, folder: Path) -> None:
    from mlrf.features.explanation_store import EmbeddedExplanations, model_digest  # noqa: PLC0415
    from mlrf.features.explanations_parquet import read_explanations  # noqa: PLC0415

    manifest = bundle.manifest
    model = model_digest(bundle)
    width = manifest.n_features * manifest.n_outputs
    store = EmbeddedExplanations(folder, rows, model, width)
    try:
        store.clear()
        for batch in read_explanations(bundle.file(EXPLANATIONS), rows, model, width):
            store.append(batch)
    finally:
        store.release()
    mark_seeded(folder)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

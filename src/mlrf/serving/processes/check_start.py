"""Checks settings for `--print-config`: everything that a start would refuse on this machine, without listening or writing.

1. Models are read and their golden rows replayed, as a start does. A model file that `--build-at-start` would build is not
   built, and nothing is fetched from a store; the check only tests whether it could be written.
2. It does not test whether a port or socket is free, because a server with these settings may be running.
3. For a directory that does not exist, it tests the nearest parent that does.
"""

from __future__ import annotations

import os
from pathlib import Path

from mlrf.core.bundle import Bundle
from mlrf.core.errors import ConfigError
from mlrf.core.manifest import MANIFEST
from mlrf.core.repository import model_directories
from mlrf.features.local_folders import local_folders
from mlrf.features.row_format import row_format
from mlrf.serving.config.admin_address import parse_admin
from mlrf.serving.config.settings import ServeSettings
from mlrf.serving.models.default_model import default_name
from mlrf.serving.processes.admin_listener import check_socket_path
from mlrf.serving.processes.build_at_start import built_bundles
from mlrf.serving.processes.listeners import bind_listeners
from mlrf.serving.processes.model_stores import store_addresses
from mlrf.serving.processes.models_at_start import ModelsAtStart
from mlrf.stores.address import mirror_path


def check_start(settings: ServeSettings) -> None:
    """Raise the ConfigError or BundleError that a start with these settings would end with."""
    mirrors = {path: mirror_path(each, settings.state_dir) for path, each in store_addresses(settings).items()}
    built = {**built_bundles(settings), **mirrors}
    unbuilt = [
        bundle for bundle in built.values() if not (bundle / MANIFEST).exists() and not model_directories(bundle)
    ]
    if unbuilt:
        if not mirrors:
            default_name([str(settings.model_name)], settings.default)
        for bundle in unbuilt:
            _check_writable(bundle.parent)
    else:
        at_start = ModelsAtStart(settings, built)
        for served in at_start.bundles:
            if served.name in at_start.versions:
                _check_store(served, settings)
    _check_addresses(settings)
    _check_admin(settings)


def _check_store(bundle: Bundle, settings: ServeSettings) -> None:
    """Check the directory of a bundle's rows and explanations, where the start would create or fill it."""
    rows = row_format(bundle)
    if rows is None:
        return
    folders, shared = local_folders(settings.state_dir, bundle, rows), settings.features is not None
    if not folders.is_seeded(bundle, shared=shared) or not (shared or folders.rows.exists()):
        _check_writable(folders.rows.parent)


def _check_writable(folder: Path) -> None:
    nearest = folder.absolute()
    while not os.path.lexists(nearest):
        nearest = nearest.parent
    if not nearest.is_dir():
        raise ConfigError(f"--state-dir: {folder} cannot be made: {nearest} is not a directory", option="--state-dir")
    if not os.access(nearest, os.W_OK | os.X_OK) or _holds_no_files(nearest):
        raise ConfigError(
            f"--state-dir: {folder} cannot be written: {nearest} is not writable for this user", option="--state-dir"
        )


def _holds_no_files(folder: Path) -> bool:
    """Return whether a directory is of a file system of the kernel, such as /proc, where not even root makes files.

    Those report no blocks, and know no files without a name.
    """
    if os.statvfs(folder).f_blocks:
        return False
    try:
        os.close(os.open(folder, os.O_TMPFILE | os.O_RDWR))
    except OSError:
        return True
    return False


def _check_addresses(settings: ServeSettings) -> None:
    for each in bind_listeners(settings.host, 0, 1, settings.backlog).sockets:
        each.close()
    grpc = settings.grpc
    if grpc.grpc_port is None:
        return
    host = settings.host if grpc.grpc_host is None else grpc.grpc_host
    for each in bind_listeners(host, 0, 1, settings.backlog, "--grpc-").sockets:
        each.close()
    if grpc.grpc_port and (host, grpc.grpc_port) == (settings.host, settings.port):
        raise ConfigError(
            f"--grpc-port: {host}:{grpc.grpc_port} is in use by --port; choose another --grpc-port",
            option="--grpc-port",
        )


def _check_admin(settings: ServeSettings) -> None:
    if settings.admin is None or (path := parse_admin(settings.admin).path) is None:
        return
    check_socket_path(path)
    if not path.parent.is_dir():
        raise ConfigError(
            f"--admin: cannot listen on {path}: {path.parent} is not a directory; create it first", option="--admin"
        )
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ConfigError(
            f"--admin: cannot listen on {path}: {path.parent} is not writable for this user", option="--admin"
        )

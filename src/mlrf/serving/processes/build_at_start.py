"""Builds bundles from model files when a server starts (`--build-at-start`), in a child process.

The server itself imports no builder and no training library. The child process has limits of time and memory and runs the usual
parity gate. Its bundle is stored under the state directory, named by the digest of the model file, and is built only once.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import time
from pathlib import Path

from mlrf import __version__
from mlrf.core.bundle import read_bundle
from mlrf.core.bundle_files import digest_file
from mlrf.core.errors import BundleError
from mlrf.core.manifest import MANIFEST
from mlrf.core.repository import model_directories
from mlrf.serving.config.settings import ServeSettings
from mlrf.serving.processes.builder_process import run_builder
from mlrf.serving.processes.state_folder import make_state_folder
from mlrf.serving.telemetry.logs import Log

_LIMIT_S = 900.0
_MOST_BYTES = 16 << 30
MAX_MODEL_BYTES = 4 << 30
"""Largest model file that is read to find its bundle: the limit of the builder (`builder.model_source`) itself."""
_DIGITS = 16
_DEPTH = 3
"""A model file, its directory, and one above that."""
_SHOWN, _LONGEST_REASON = 5, 2000
_REMEDY = "build it beforehand, as the Job of `mlrf deploy kserve` does, and serve the bundle"
_OPTION = re.compile(r"(?<!\S)--[a-z]")


def build_models(settings: ServeSettings, log: Log) -> dict[Path, Path]:
    """Return the bundle built for each path of the settings that holds one model file; BundleError if one cannot be built."""
    return {path: _built(file, bundle, log) for path, (file, bundle) in _model_files(settings).items()}


def built_bundles(settings: ServeSettings) -> dict[Path, Path]:
    """Return where the bundle of each such path lies, or will lie once it is built."""
    return {path: bundle for path, (_, bundle) in _model_files(settings).items()}


def _model_files(settings: ServeSettings) -> dict[Path, tuple[Path, Path]]:
    """Return the model file and the bundle of each path of the settings that holds one model file."""
    found = {path: model_file(path) for path in settings.bundles} if settings.build_at_start else {}
    for path in (path for path, file in found.items() if file is None):
        _check_no_choice(path)
    return {path: (file, _bundle_of(file, settings)) for path, file in found.items() if file is not None}


def _check_no_choice(path: Path) -> None:
    """Raise BundleError for a directory in which a model file would have to be chosen."""
    for _ in range(_DEPTH):
        if not path.is_dir() or (path / MANIFEST).exists() or model_directories(path):
            return
        entries = _visible(path)
        if len(entries) != 1:
            names = ", ".join(entry.name for entry in entries[:_SHOWN]) + ", …" * (len(entries) > _SHOWN)
            found = f"has {len(entries)} entries ({names})" if entries else "is empty"
            raise BundleError(
                f"{path}: {found}; what is built at the start must be the only file: give the path of one model file"
            )
        path = entries[0]


def _bundle_of(file: Path, settings: ServeSettings) -> Path:
    return settings.state_dir / "built" / _identity(file) / str(settings.model_name)


def _identity(file: Path) -> str:
    """Return the name of the directory of a model file's bundle; BundleError when the file cannot be read."""
    try:
        if file.stat().st_size > MAX_MODEL_BYTES:
            raise BundleError(f"{file}: is larger than {MAX_MODEL_BYTES >> 30} GiB, and cannot be built; {_REMEDY}")
        return f"{digest_file(file)[:_DIGITS]}-{__version__}"
    except OSError as error:
        raise BundleError(f"{file}: cannot be read: {error.strerror}") from error


def model_file(path: Path) -> Path | None:
    """Return the file at a path, or the only one in that directory or in its only subdirectory; None if there is none."""
    for _ in range(_DEPTH):
        if path.is_file():
            return path
        entries = [] if (path / MANIFEST).exists() or not path.is_dir() else _visible(path)
        if len(entries) != 1:
            return None
        path = entries[0]
    return None


def _visible(folder: Path) -> list[Path]:
    """Return what a directory holds, without hidden entries: those of KServe's and Kubernetes' mounts are no models."""
    return [each for each in sorted(folder.iterdir()) if not each.name.startswith(".") and each.name != "lost+found"]


def _built(file: Path, out: Path, log: Log) -> Path:
    name = out.name
    if _is_sound(out, log):
        log.info("bundle built before", model=name, file=str(file), bundle=str(out))
        return out
    log.info("building a bundle", model=name, file=str(file))
    began_s = time.monotonic()
    make_state_folder(out.parent, "bundles of --build-at-start")
    _build(file, out, name)
    if _identity(file) != out.parent.name:
        # Under the digest of the file as it was, the bundle of another one would be served later.
        shutil.rmtree(out, ignore_errors=True)
        raise BundleError(f"{file}: changed while its bundle was built; start again once it is written")
    log.info("bundle built", model=name, file=str(file), took_s=round(time.monotonic() - began_s, 1))
    return out


def _is_sound(out: Path, log: Log) -> bool:
    """Return whether a bundle was built before; a damaged one is removed, to be built again."""
    if not out.exists():
        return False
    try:
        read_bundle(out)
    except BundleError as error:
        log.warning("damaged bundle removed", bundle=str(out), reason=str(error))
        try:
            shutil.rmtree(out)
        except OSError as refused:
            raise BundleError(
                f"{error}; it cannot be removed ({refused.strerror}), remove {out} to build it again"
            ) from error
        return False
    return True


def _environment(folder: Path) -> dict[str, str]:
    """Return the builder's environment, with a directory for temporary files and caches.

    The server's MLRF_ variables are not options of the builder. Training libraries need a home for their caches, and the parity
    check writes the model and its rows to TMPDIR: /tmp of a container is often a few MB of memory.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLRF_")}
    return {"HOME": str(folder), "TMPDIR": str(folder), **environment}


def _build(file: Path, out: Path, name: str) -> None:
    command = [sys.executable, "-m", "mlrf", "build", str(file), "--out", str(out), "--name", name]
    try:
        status, stderr = run_builder(command, _environment(out.parent), limit_s=_LIMIT_S, most_bytes=_MOST_BYTES)
    except TimeoutError as error:
        raise BundleError(f"{file}: not built within {_LIMIT_S:g} s; {_REMEDY}") from error
    if status:
        raise BundleError(f"{file}: no bundle could be built: {_reason(status, stderr)}; {_REMEDY}")


def _reason(status: int, stderr: str) -> str:
    """Return why the builder failed, from its exit status and the end of what it wrote."""
    if status == -signal.SIGKILL:
        return "the builder was killed, as the kernel does where memory runs out; allow more memory"
    last = stderr.strip().splitlines()[-1:] or [f"the builder ended with {status}"]
    reason = last[0].removeprefix("mlrf: ")[:_LONGEST_REASON]
    # What the builder advises are its own options, of which the server has none.
    return reason + " (an option of `mlrf build`)" * (_OPTION.search(reason) is not None)

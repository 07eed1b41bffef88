"""Row 26: versions that a start, or a publisher, must refuse as a reload does."""

from __future__ import annotations

import contextlib
import io
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from bundles import ALL_KINDS, write_bundle, write_tree_bundle
from looping_model import endless, replaced
from mlrf.cli import main
from mlrf.cli.exit_status import BAD_BUNDLE
from mlrf.core.bundle import read_bundle
from mlrf.core.errors import BundleError
from mlrf.core.manifest import GOLDEN_ROWS
from mlrf.core.publishing import publish
from mlrf.core.repository import model_directories
from running import eventually, run_to_its_end, serving
from scoreboard import Finding, Row

_LIMIT_S, _ENDS_WITHIN_S = 2.0, 60.0


def _endless(bundle: Path) -> None:
    shutil.rmtree(bundle)
    replaced(write_bundle(bundle), "model.onnx", endless(len(ALL_KINDS.features)))


BAD: dict[str, Callable[[Path], object]] = {
    "another model's forest": lambda bundle: replaced(
        bundle, "forest.bin", (write_tree_bundle(bundle.parent / "x", seed=8) / "forest.bin").read_bytes()
    ),
    "no golden rows": lambda bundle: replaced(bundle, "golden.bin", None),
    "empty golden rows": lambda bundle: replaced(bundle, "golden.bin", b""),
    "junk golden rows": lambda bundle: replaced(bundle, "golden.bin", b"junk" * 100),
    "an endless loop": _endless,
}


def _is_taken_alone(bundle: Path) -> bool:
    """Whether a server starts with a bundle's directory."""
    try:
        status, stderr, _ = run_to_its_end(
            [bundle], "--port", "0", "--reload-timeout", f"{_LIMIT_S:g}", limit_s=_ENDS_WITHIN_S
        )
    except subprocess.TimeoutExpired:  # it kept serving
        return True
    return status != BAD_BUNDLE or len(stderr.splitlines()) != 1


def _is_published(bundle: Path, repository: Path) -> bool:
    before = model_directories(repository)[0].pointer()
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        status = main(["publish", str(bundle), str(repository)])
    return status == 0 or model_directories(repository)[0].pointer() != before


def _is_served(bundle: Path, repository: Path, sound: str) -> bool:
    """Whether the running server of a repository, or the next one, serves a version that was put there by hand."""
    options = ["--reload-timeout", f"{_LIMIT_S:g}"]

    def versions(server: object) -> set[str]:
        body = {"features": ALL_KINDS.example()}
        return {server.ask("POST", "/predict", body).json["version"] for _ in range(4)}  # type: ignore[attr-defined]

    with serving(repository, options=options) as running:
        publish(bundle, repository, prove=lambda _bundle: None, allow_schema_change=True)
        eventually(
            lambda: sum(v for k, v in running.metrics().items() if k.startswith("mlrf_reloads_total")), 30, "the reload"
        )
        seen = versions(running)
        with serving(repository, options=options) as started:
            seen |= versions(started)
    return seen != {sound}


def _is_readable(bundle: Path) -> bool:
    """Whether `publish` without its check copies a bundle: it reads the manifest, which must list the golden rows."""
    try:
        return GOLDEN_ROWS in read_bundle(bundle).manifest.files
    except BundleError:
        return False


def measure(planted: bool) -> Finding:
    """Give each version to a start, to the publisher and to servers of a repository; with the fault, one is valid."""
    taken = []
    offered = {"nothing at all": lambda _bundle: None} if planted else BAD
    for what, damage in offered.items():
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder)
            sound = write_tree_bundle(home / "sound")
            bundle = shutil.copytree(sound, home / "bad")
            damage(bundle)
            publish(sound, home / "models")
            if _is_taken_alone(bundle):
                taken.append(f"{what} at a start")
            elif _is_published(bundle, home / "models"):
                taken.append(f"{what} by the publisher")
            elif _is_readable(bundle) and _is_served(bundle, home / "models", read_bundle(sound).short_version):
                taken.append(f"{what} in a repository")
    return Finding(f"{len(offered)} kinds of versions tried; accepted: {taken or 'none'}", not taken)


ROW = Row(
    26,
    "a start, a publisher and a repository's servers with versions whose golden rows fail, or never end",
    "exit 3 and one sentence; never published; never served",
    "one that is valid",
    measure,
)

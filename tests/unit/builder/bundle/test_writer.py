"""A bundle is written completely or not at all, whatever the disk, a signal or another build does meanwhile."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

import bundles
from mlrf.builder.bundle.writer import write_bundle
from mlrf.core.bundle import read_bundle
from mlrf.core.errors import BuildError, OutputExistsError
from mlrf.core.feature import Feature
from mlrf.core.manifest import LinkEntry, Manifest, ModelFacts
from mlrf.core.schema import Schema
from naive_forest import make_forest


@functools.cache
def contents() -> dict[str, bytes]:
    """The files of a sound bundle of one feature."""
    with tempfile.TemporaryDirectory() as folder:
        forest = make_forest(np.random.default_rng(0), n_features=1)
        made = bundles.write_bundle(Path(folder) / "made", schema=Schema((Feature("x"),)), forest=forest)
        return {path.name: path.read_bytes() for path in made.iterdir() if path.name != "manifest.json"}


def manifest(name: str = "m") -> Manifest:
    return Manifest(
        format=1, name=name, task="regression", objective="regression", link=LinkEntry("identity"), classes=None,
        n_features=1, n_outputs=1, base=[0.0], facts=ModelFacts(1, 1, 0, 0), libraries={}, parity={}, files={},
    )  # fmt: skip


def write(out: Path, *, name: str = "m", force: bool = False, extra: bytes = b"x") -> Path:
    return write_bundle(out, manifest(name), {**contents(), "extra": extra}, force=force)


def test_what_is_written_reads_back_and_has_one_version(tmp_path):
    one, two = (read_bundle(write(tmp_path / name)) for name in ("one", "deep/two"))
    assert one.version == two.version
    assert sorted([p.name for p in tmp_path.iterdir()]) == ["deep", "one"]


def test_existing_output_needs_force_and_must_be_a_bundle(tmp_path):
    out = write(tmp_path / "b")
    with pytest.raises(OutputExistsError, match="--force"):
        write(out)
    write(out, name="newer", force=True)
    assert read_bundle(out).name == "newer"
    assert [p.name for p in tmp_path.iterdir()] == ["b"]
    mine = tmp_path / "thesis"
    mine.mkdir()
    (mine / "chapter").write_text("years of work")
    link = tmp_path / "link"
    link.symlink_to(out)
    for taken in (mine, link):
        with pytest.raises(OutputExistsError, match="--force does not replace it"):
            write(taken, force=True)
    assert (mine / "chapter").read_text() == "years of work"
    assert link.is_symlink()


@pytest.mark.parametrize("existing", [False, True])
def test_full_disk_keeps_the_old_bundle(tmp_path, existing):
    # RLIMIT_FSIZE makes the kernel itself refuse the write, as a full disk does, without being root.
    out = tmp_path / "b"
    if existing:
        write(out, name="old")
    script = (
        "import resource, signal, sys; sys.path[:0] = sys.argv[2:]; from pathlib import Path\n"
        "from test_writer import contents, write; from mlrf.core.errors import BuildError; contents()\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: write(Path(sys.argv[1]), force=True, extra=bytes(100_000))\n"
        "except BuildError as error: print(error); sys.exit(7)\n"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", script, out, Path(__file__).parent, Path(bundles.__file__).parent],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 7, done.stderr
    assert "could not be written" in done.stdout
    assert [p.name for p in tmp_path.iterdir()] == (["b"] if existing else [])
    if existing:
        assert read_bundle(out).name == "old"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk takes root; RLIMIT_FSIZE above needs none")
def test_a_really_full_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("this root may not mount; RLIMIT_FSIZE above needs no mount")
    try:
        write(disk / "old")
        with pytest.raises(BuildError, match="No space left"):
            write(disk / "b", extra=bytes(200_000))
        with pytest.raises(BuildError, match="No space left"):
            write(disk / "old", extra=bytes(200_000), force=True)
        assert [p.name for p in disk.iterdir()] == ["old"]
        assert read_bundle(disk / "old").name == "m"
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_place_that_may_not_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BuildError, match="could not be written"):
        write(tmp_path / "file" / "b")


def test_interrupt_leaves_nothing_behind(tmp_path):
    class Interrupting(dict):
        def items(self):
            yield from super().items()
            os.kill(os.getpid(), signal.SIGINT)

    # Where SIGINT was ignored when Python started (`nohup … &`), it installs no handler of its own.
    earlier = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            write_bundle(tmp_path / "b", manifest(), Interrupting(contents()), force=False)
    finally:
        signal.signal(signal.SIGINT, earlier)
    assert not any(tmp_path.iterdir())


def test_files_of_killed_builds_only_are_removed(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    orphan = tmp_path / f".b.building-{dead.pid}"
    living = tmp_path / f".b.building-{os.getppid()}"
    other = tmp_path / ".b.building-notes"
    for path in (orphan, living, other):
        path.mkdir()
    write(tmp_path / "b")
    assert sorted([p.name for p in tmp_path.iterdir()]) == sorted([living.name, other.name, "b"])


def test_bundle_set_aside_by_a_killed_build_is_restored(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    write(tmp_path / "b", name="old").rename(tmp_path / f".b.building-{dead.pid}-old")
    with pytest.raises(OutputExistsError):
        write(tmp_path / "b")
    assert read_bundle(tmp_path / "b").name == "old"


def test_reader_sees_a_complete_bundle_during_replacement(tmp_path):
    out = write(tmp_path / "b")
    script = (
        "import sys; from pathlib import Path; from mlrf.core.bundle import read_bundle; print('ready', flush=True)\n"
        "while not (Path(sys.argv[1]).parent / 'stop').exists(): assert (Path(sys.argv[1]) / 'manifest.json').is_file()\n"
    )
    reader = subprocess.Popen([sys.executable, "-c", script, out], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert reader.stdout is not None
    reader.stdout.readline()
    for number in range(100):
        write(out, name=f"m{number}", force=True)
    (tmp_path / "stop").write_text("")
    _, stderr = reader.communicate(timeout=300)
    assert reader.returncode == 0, stderr.decode()

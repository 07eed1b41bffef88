"""Build the container image on a base made here, and run it: read-only root, a random user, volumes, signals. `make image-test`.

There is no container engine here: the image's files are mounted and entered in separate namespaces, as an engine
would, with the user, environment, entry point and health check that the image's configuration names. SMOKE=1 builds the
one image, lists its contents, asks it and ends it with SIGTERM; where the machine lacks what that needs, it says so.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from image_contents import MIB, bytes_of, report_contents

from bundles import ALL_KINDS, write_bundle, write_tree_bundle
from memory_limit import MemoryLimit, memory_limit
from running import START_LIMIT_S, Server, children_of, eventually

UID = 1_234_567
"""A user that is in no password file."""
PACKAGES = "python3,python3-venv,ca-certificates"
BUILD_LIMIT_S = 900
MEMORY_BYTES, TOO_LITTLE_BYTES = 128 << 20, 24 << 20


class UnavailableError(Exception):
    """Debian's packages or those of Python cannot be fetched here."""


@dataclass
class Store:
    """Images in a folder."""

    folder: Path

    def buildah(self, *arguments: str | Path) -> str:
        options = ["--storage-driver", "vfs", "--root", self.folder / "root", "--runroot", self.folder / "run"]
        return run("buildah", *options, *arguments)

    def make_base(self, name: str) -> None:
        """Debian with Python, as `BASE`."""
        tar = self.folder / "base.tar"
        run("mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", "bookworm", tar)
        working = self.buildah("from", "scratch").strip()
        self.buildah("add", "--quiet", working, tar, "/")
        self.buildah("commit", "--quiet", working, name)
        self.buildah("rm", working)
        tar.unlink()

    def build(self, context: Path, name: str, **arguments: str) -> None:
        """The build of `make image`, with this machine's certificates."""
        given = [part for each in arguments.items() for part in ("--build-arg", "=".join(each))]
        # No image for each step: their copies and removal take minutes.
        flags = ["--layers=false", "--format", "docker", "--isolation", "chroot", "--network", "host"]
        shared = ["--volume", "/etc/ssl/certs:/etc/ssl/certs:ro"]
        self.buildah("bud", "--quiet", *flags, *shared, *given, "--tag", name, context)

    def can_fetch(self, name: str) -> bool:
        """Whether pip can fetch a package inside an image."""
        working = self.buildah("from", "--pull-never", name).strip()
        fetch = "python3 -m venv /fetch && /fetch/bin/pip download --quiet --no-deps --dest /fetch click"
        shared = ["--volume", "/etc/ssl/certs:/etc/ssl/certs:ro"]
        try:
            self.buildah("run", "--isolation", "chroot", "--network", "host", *shared, working, "sh", "-c", fetch)
        except subprocess.CalledProcessError:
            return False
        return True

    def mounted(self, name: str) -> Path:
        """The files of an image."""
        return Path(self.buildah("mount", self.buildah("from", "--pull-never", name).strip()).strip())

    def configuration(self, name: str) -> dict:
        return json.loads(self.buildah("inspect", "--type", "image", name))["Docker"]["config"]


def run(*command: str | Path) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=BUILD_LIMIT_S)
    return done.stdout


@dataclass
class Image:
    """An image that can be run."""

    files: Path
    configuration: dict

    def command(self, arguments: Sequence[str], volumes: dict[Path, str], *, writable: bool = False) -> list[str]:
        """The command line of a container: mount, pid, ipc and uts namespaces, no capability, `UID`, no HOME."""
        root = shlex.quote(str(self.files))
        steps = [f"mount --bind {root} {root}"]
        steps += [f"mount --bind {shlex.quote(str(here))} {root}{inside}" for here, inside in volumes.items()]
        steps += [f"mount -o remount,bind,ro {root}"] * (not writable)
        steps += [f"mount -t proc proc {root}/proc"]
        steps += [f"mount -t tmpfs -o mode=1777 tmpfs {root}{each}" for each in ("/dev", "/tmp")]  # noqa: S108
        steps += [f"mkdir -m 1777 {root}/dev/shm"]  # noqa: S108
        for device in ("null", "zero", "urandom", "random"):
            steps += [f"touch {root}/dev/{device}", f"mount --bind /dev/{device} {root}/dev/{device}"]
        inside = ["env", "-i", *self.configuration["Env"], *self.configuration["Entrypoint"], *arguments]
        enter = [
            "setpriv",
            "--no-new-privs",
            "chroot",
            f"--userspec={UID}:{UID}",
            "--groups=",
            str(self.files),
            *inside,
        ]
        script = " && ".join(steps) + f" && exec {shlex.join(enter)}"
        return ["unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "sh", "-c", script]

    def run(self, *arguments: str, volumes: dict[Path, str] | None = None) -> subprocess.CompletedProcess:
        return subprocess.run(
            self.command(arguments, volumes or {}), capture_output=True, text=True, check=False, timeout=START_LIMIT_S
        )

    @contextlib.contextmanager
    def serving(
        self, *arguments: str, volumes: dict[Path, str] | None = None, limit: MemoryLimit | None = None
    ) -> Iterator[Container]:
        """The image's `serve` on a free port, ready."""
        options = ["serve", *arguments, "--port", "0", "--workers", "2"]
        command = self.command(options, volumes or {})
        process = subprocess.Popen(
            limit.command(command) if limit else command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        server = Container(process)
        try:
            server.find_address()
            eventually(server.is_ready, START_LIMIT_S, "a ready worker")
            yield server
        finally:
            server.stop(signal.SIGKILL)


class Container(Server):
    """A running container."""

    @property
    def pid_1(self) -> int:
        """The process id of its first process on this machine."""
        return children_of(self.process.pid)[0]

    def stop(self, number: int) -> int:
        """Send a signal to its first process; return the exit status."""
        if self.process.poll() is None:
            os.kill(self.pid_1, number)
        return self.wait()


def main(wheel: Path, kept: Path | None = None) -> None:
    """Build and run; an AssertionError or CalledProcessError says what is wrong. `kept`: a folder with the base, for next time."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        home.chmod(0o755)
        store = Store((kept or home / "store").absolute())
        if not store.folder.exists():
            store.folder.mkdir()
            try:
                store.make_base("base")
            except subprocess.CalledProcessError as error:
                raise UnavailableError(f"no base: {error}") from error
        context = home / "context"
        run(sys.executable, "-m", "mlrf", "deploy", "container", "-o", context)
        (context / "wheels" / wheel.name).write_bytes(wheel.read_bytes())
        try:
            store.build(context, "mlrf", BASE="localhost/base", REVISION="0123")
        except subprocess.CalledProcessError as error:
            if store.can_fetch("base"):
                raise
            raise UnavailableError("pip can fetch nothing inside the base") from error
        image = Image(store.mounted("mlrf"), store.configuration("mlrf"))
        bundle = readable(write_tree_bundle(home / "bundle", name="sales"))
        report_contents(image.files, store.mounted("base"))
        check_configuration(image)
        check_serving(image, bundle)
        if os.environ.get("SMOKE"):
            print("the image builds, answers as a random user from a read-only root, and ends with SIGTERM")
            return
        check_state_volume(image, home)
        check_other_commands(image, bundle)
        check_refusals(image, bundle)
        check_memory_limit(image, bundle)
        check_baked_in(store, bundle, home)
        check_signing(store, context, bundle, home)
    print("the image builds, and serves as a random user from a read-only root")


def readable(bundle: Path) -> Path:
    bundle.chmod(0o755)
    return bundle


def check_configuration(image: Image) -> None:
    configuration = image.configuration
    assert (configuration["Entrypoint"], configuration["Cmd"]) == (["mlrf"], ["serve"])
    assert configuration["User"] == "65532:65532"
    assert set(configuration["Volumes"]) == {"/models", "/state"}
    assert configuration["Labels"]["org.opencontainers.image.revision"] == "0123"
    assert configuration["Healthcheck"]["Test"][0] == "CMD"


def check_serving(image: Image, bundle: Path) -> None:
    with image.serving(volumes={bundle: "/models"}) as server:
        row = ALL_KINDS.example()
        answer = server.ask("POST", "/predict", {"features": row})
        assert answer.status == 200, answer
        assert "contributions" in server.ask("POST", "/explain", {"features": row}).json["explanation"]
        status = Path(f"/proc/{server.pid_1}/status").read_text()
        assert f"Uid:\t{UID}" in status, status
        assert "CapEff:\t0000000000000000" in status, status
        check = image.configuration["Healthcheck"]["Test"][1:]
        for port, expected in ((server.port, 0), (1, 1)):
            done = subprocess.run(
                ["chroot", image.files, "env", "-i", f"MLRF_PORT={port}", *check],
                check=False, capture_output=True, timeout=60,
            )  # fmt: skip
            assert done.returncode == expected, done
        assert server.stop(signal.SIGTERM) == 0, server.lines
        assert {entry["event"] for entry in server.troubles} <= {"reachable without a key"}, server.troubles


def check_state_volume(image: Image, home: Path) -> None:
    """Pushed rows outlive the container, on the volume."""
    keyed = readable(write_tree_bundle(home / "keyed", name="keyed", key={"shop": "integer"}))
    state = home / "state"
    state.mkdir(mode=0o700)
    os.chown(state, UID, UID)
    row = {"key": {"shop": 7}, "features": ALL_KINDS.example()}
    with image.serving("--admin", "127.0.0.1:0", volumes={keyed: "/models", state: "/state"}) as server:
        address = next(entry["address"] for entry in server.log if entry["event"] == "admin listening")
        pushed = subprocess.run(
            ["curl", "-sS", "--fail-with-body", "-X", "POST", f"http://{address}/admin/models/keyed/features", "-H", "Content-Type: application/json", "-d", json.dumps({"rows": [row]})],
            check=False, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert pushed.returncode == 0, pushed
        answer = server.ask("POST", "/predict", {"key": {"shop": 7}})
        assert answer.status == 200, answer
        assert server.stop(signal.SIGTERM) == 0
    with image.serving(volumes={keyed: "/models", state: "/state"}) as server:
        assert server.ask("POST", "/predict", {"key": {"shop": 7}}).json == answer.json


def check_memory_limit(image: Image, bundle: Path) -> None:
    """The server serves within a limit of memory; within one that is too small it does not, so the limit counts."""
    with memory_limit(MEMORY_BYTES) as limit:
        if limit is None:
            print("memory limit: not tried, this machine permits no control groups")
            return
        with image.serving(volumes={bundle: "/models"}, limit=limit) as server:
            body = {"instances": [{"features": ALL_KINDS.example()}] * 100}
            for _ in range(20):
                assert server.ask("POST", "/predict/batch", body).status == 200
            memory = f"{limit.anonymous_bytes / MIB:.0f} MiB, with files at most {limit.peak_bytes / MIB:.0f}"
            assert server.stop(signal.SIGTERM) == 0
        print(f"within {MEMORY_BYTES / MIB:.0f} MiB (control group): two workers take {memory}")
    with memory_limit(TOO_LITTLE_BYTES) as limit:
        assert limit is not None
        command = image.command(["serve", "--port", "0"], {bundle: "/models"})
        done = subprocess.run(limit.command(command), capture_output=True, check=False, timeout=START_LIMIT_S)
        assert done.returncode != 0, done


def check_signing(store: Store, context: Path, bundle: Path, home: Path) -> None:
    """An image with the extra of signatures serves what the key signed, and refuses what it did not."""
    arguments = {"BASE": "localhost/base", "REQUIREMENTS": "requirements.txt requirements-signing.txt"}
    store.build(context, "mlrf-signing", **arguments)
    image = Image(store.mounted("mlrf-signing"), store.configuration("mlrf-signing"))
    print(f"with the extra of signatures: {bytes_of(image.files / 'opt/mlrf') / MIB:.0f} MiB")
    key = home / "keys/release.key"
    key.parent.mkdir()
    run(sys.executable, "-m", "mlrf", "keygen", key)
    options = ("--require-signature", "/keys/release.key.pub")
    (image.files / "keys").mkdir()
    volumes = {bundle: "/models", key.parent: "/keys"}
    refused = image.run("serve", *options, volumes=volumes)
    assert (refused.returncode, "model.sig" in refused.stderr) == (3, True), refused
    run(sys.executable, "-m", "mlrf", "sign", bundle, "--key", key)
    with image.serving(*options, volumes=volumes) as server:
        assert server.ask("POST", "/predict", {"features": ALL_KINDS.example()}).status == 200
        assert server.stop(signal.SIGTERM) == 0


def check_other_commands(image: Image, bundle: Path) -> None:
    """What only these import is not compiled in the image; ONNX Runtime is not in it."""
    inspected = image.run("inspect", "/models", volumes={bundle: "/models"})
    assert (inspected.returncode, "forest.bin" in inspected.stdout) == (0, True), inspected
    onnx = readable(write_bundle(bundle.parent / "onnx"))
    refused = image.run("serve", volumes={onnx: "/models"})
    assert (refused.returncode, "pip install 'mlrf[onnx]'" in refused.stderr) == (2, True), refused


def check_refusals(image: Image, bundle: Path) -> None:
    none = image.run("serve")
    assert (none.returncode, "no model is mounted at" in none.stderr) == (2, True), none
    (image.files / "mnt/models").mkdir(exist_ok=True)
    two = image.run("serve", volumes={bundle: "/models", bundle.parent / "keyed": "/mnt/models"})
    assert (two.returncode, "/mnt/models and /models" in two.stderr) == (2, True), two
    (image.files / "mnt/models").rmdir()


def check_baked_in(store: Store, bundle: Path, home: Path) -> None:
    context = home / "sales"
    run(sys.executable, "-m", "mlrf", "image", bundle, "-o", context, "--base", "localhost/mlrf")
    store.build(context, "sales")
    image = Image(store.mounted("sales"), store.configuration("sales"))
    assert image.configuration["Labels"]["org.opencontainers.image.title"] == "sales"
    with image.serving() as server:
        assert server.ask("POST", "/predict", {"features": ALL_KINDS.example()}).status == 200
        assert server.stop(signal.SIGTERM) == 0


def missing() -> str:
    """What this machine lacks to build and run an image; an empty text if nothing."""
    if os.geteuid() != 0:
        return "not root"
    if absent := [each for each in ("buildah", "mmdebstrap") if shutil.which(each) is None]:
        return f"{' and '.join(absent)} not installed"
    probe = ["unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    done = subprocess.run(probe, capture_output=True, text=True, check=False, timeout=60)
    return f"no namespaces: {done.stderr.strip()}" if done.returncode else ""


if __name__ == "__main__":
    is_smoke = bool(os.environ.get("SMOKE"))
    if is_smoke and (reason := missing()):
        print(f"the image is not built here: {reason}")
        sys.exit()
    try:
        main(*map(Path, sys.argv[1:]))
    except UnavailableError as error:
        if not is_smoke:
            raise
        print(f"the image is not built here: {error}")

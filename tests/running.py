"""The real server in separate processes, started, observed and ended by the tests."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from raw_http import Answer, Client

PATIENCE: dict[str, str] = {}
"""Environment of every server: limits that a busy machine does not reach, set by tests/conftest.py; the scoreboard sets none."""
START_LIMIT_S = 300.0
"""Generous, because a wait ends as soon as its condition holds, and a busy machine may take long."""
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.01, 0.05
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
T = TypeVar("T")


MLRF = (sys.executable, "-m", "mlrf")


def command(
    bundles: Sequence[Path], *options: str, broken_by: str = "", program: Sequence[str | Path] = MLRF
) -> list[str]:
    """The command line of `mlrf serve`; `broken_by`, else PLANTED_FAULT, is Python that takes a guard out of it first."""
    broken_by = broken_by or os.environ.get("PLANTED_FAULT", "")
    if broken_by:
        program = [sys.executable, "-c", f"{broken_by}\nimport sys\nfrom mlrf.cli import main\nsys.exit(main())"]
    return [*map(str, program), "serve", *map(str, bundles), *options]


def run_to_its_end(bundles: Sequence[Path], *options: str, limit_s: float = START_LIMIT_S) -> tuple[int, str, float]:
    """Run a server that is expected to end by itself; return its exit status, its output, and the seconds it took."""
    began = time.monotonic()
    done = subprocess.run(
        command(bundles, *options),
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return done.returncode, done.stderr + done.stdout, time.monotonic() - began


def eventually(found: Callable[[], T | None], limit_s: float = 120.0, what: str = "it") -> T:
    """Call a function until its result is neither None nor False; TimeoutError names what was awaited."""
    deadline = time.monotonic() + limit_s
    pause_s = _FIRST_PAUSE_S
    while True:
        if answer := found():
            return answer
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {limit_s:g} s")
        time.sleep(pause_s)
        # If it has not happened at once it takes a while, and polling uses the processor that it needs.
        pause_s = min(1.2 * pause_s, _LAST_PAUSE_S)


class Server:
    """A running `mlrf serve`: its address, its log, its processes."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.port = 0
        self._lines: list[str] = []
        self._unfinished = b""
        self._has_ended = False
        self._lock = threading.Lock()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def find_address(self) -> None:
        """Wait for the log line that says where the server listens."""
        url = eventually(self._find_url, START_LIMIT_S, "the log line of the address")
        self.port = int(url.rpartition(":")[2])

    @property
    def lines(self) -> list[str]:
        """The lines of the log so far: all that were written before this call."""
        self._drain()
        return list(self._lines)

    @property
    def log(self) -> list[dict[str, Any]]:
        """The log so far; a line that is not a JSON object stands as the event `not JSON`."""
        entries = []
        for line in self.lines:
            try:
                entries.append(json.loads(line))
            except ValueError:
                entries.append({"event": "not JSON", "level": "error", "line": line})
        return entries

    @property
    def troubles(self) -> list[dict[str, Any]]:
        """Log events that must not occur after invalid input."""
        return [entry for entry in self.log if entry["level"] not in ("info", "debug")]

    def client(self) -> Client:
        """A new connection."""
        return Client(self.port)

    def ask(self, method: str, path: str, body: bytes | object = b"", headers: Sequence[str] = ()) -> Answer:
        """One request on a connection of its own."""
        with self.client() as client:
            return client.ask(method, path, body, headers)

    def is_ready(self) -> bool:
        """Whether a worker answers that it is."""
        with contextlib.suppress(OSError, EOFError):
            return self.ask("GET", "/readyz").status == 200
        return False

    def metrics(self) -> dict[str, float]:
        """Every sample of `/metrics` by name and labels."""
        return metrics_of(self.ask("GET", "/metrics"))

    def workers(self) -> list[int]:
        """Process ids of the workers that run, oldest first."""
        return children_of(self.process.pid)

    def booted(self, n: int) -> list[int]:
        """Wait until `n` workers answer, and return their process ids."""
        eventually(lambda: self.metrics()["mlrf_workers_ready"] == n, START_LIMIT_S, f"{n} ready workers")
        return self.workers()

    def wait(self, limit_s: float = START_LIMIT_S) -> int:
        """Wait for the end; return the exit status."""
        status = self.process.wait(limit_s)
        self.join()
        return status

    def join(self) -> None:
        """Wait for the end of the log."""
        self._reader.join()

    def _read(self) -> None:
        assert self.process.stderr is not None
        # Ends when the last process that inherited the other end has.
        with self.process.stderr as stderr:
            while not self._has_ended:
                select.select([stderr], [], [])
                self._drain()

    def _drain(self) -> None:
        """Read what the pipe holds. A busy machine may run the reading thread long after a line was written."""
        with self._lock:
            while not self._has_ended and select.select([self.process.stderr], [], [], 0)[0]:
                chunk = os.read(self.process.stderr.fileno(), 1 << 16)
                self._has_ended = not chunk
                *lines, self._unfinished = (self._unfinished + chunk).split(b"\n")
                if self._has_ended and self._unfinished:
                    lines.append(self._unfinished)
                self._lines += [line.decode() for line in lines]

    def check_runs(self) -> None:
        """Check that the process has not ended."""
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended with {self.process.returncode}: {self.lines}")

    def _find_url(self) -> str | None:
        self.check_runs()
        return next((entry["url"] for entry in self.log if entry["event"] == "listening"), None)


@contextlib.contextmanager
def serving(
    *bundles: Path,
    workers: int = 1,
    options: Sequence[str] = (),
    is_ready: Callable[[Server], bool] = Server.is_ready,
    broken_by: str = "",
    environment: Mapping[str, str] | None = None,
    program: Sequence[str | Path] = MLRF,
) -> Iterator[Server]:
    """A server of these bundles on a port of the kernel's choice, ready; it and its workers are gone afterwards.

    `environment` is added to that of the tests and to `PATIENCE`; `program` is `mlrf`, by default that of the tests' own environment.
    """
    process = subprocess.Popen(
        command(bundles, "--port", "0", "--workers", str(workers), *options, broken_by=broken_by, program=program),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, **PATIENCE, **(environment or {})},
    )
    server = Server(process)
    try:
        server.find_address()
        eventually(lambda: is_ready(server) or server.check_runs(), START_LIMIT_S, "a ready worker")
        yield server
    finally:
        _end(process)
        server.join()


def _end(process: subprocess.Popen[bytes]) -> None:
    workers = children_of(process.pid)
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for pid in workers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def metrics_of(answer: Answer) -> dict[str, float]:
    """Every sample of an answer of `/metrics`, by name and labels; and without the label `model`, the sum over models."""
    found: dict[str, float] = {}
    sums: dict[str, float] = {}
    for line in answer.body.decode().splitlines():
        if not line.startswith("#"):
            sample, _, value = line.rpartition(" ")
            name, without_model = _names_of(sample)
            found[name] = float(value)
            sums[without_model] = sums.get(without_model, 0.0) + float(value)
    return sums | found


@cache
def _names_of(sample: str) -> tuple[str, str]:
    """The name of a sample with its labels, and without the label `model`. Cached: tests ask until something happens."""
    name, _, rest = sample.partition("{")
    labels = sorted(_LABEL.findall(rest))
    return tuple(name + "".join(f";{k}={v}" for k, v in labels if k != left_out) for left_out in ("", "model"))


def free_port() -> int:
    """A port of this machine that nothing listens on, of those that the kernel gives to nobody: a test may use it later."""
    end = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    chance = random.SystemRandom()
    while True:
        port = chance.randrange(10_000, end)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def children_of(pid: int) -> list[int]:
    """Process ids of a process's children, oldest first; none when it is gone."""
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not yet waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def is_pending(pid: int, number: int) -> bool:
    """Whether a signal was sent to a process that has not handled it, because it is stopped."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("ShdPnd"))
    return bool(int(line.split()[1], 16) & 1 << (number - 1))


def stop(pid: int) -> None:
    """Stop a process; it accepts no connection and answers nothing from then on."""
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] == "T", what="the stop")


def cpu_s(pid: int) -> float:
    """Seconds of processor time a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cpu_ns(pid: int) -> int:
    """Nanoseconds that the threads of a process have run: what `cpu_s` counts in hundredths of a second."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir())


def peak_resident_bytes(pid: int) -> int:
    """The most memory that a process has had in use."""
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) << 10


def resident_bytes(pid: int) -> int:
    """Memory of a process that is in use now."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

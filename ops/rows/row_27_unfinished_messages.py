"""Row 27: gRPC streams that hold back the last bytes of the largest messages, without a key."""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from pathlib import Path

from bundles import write_bundle
from grpc_peer import INFERENCE, Peer, address_of
from raw_http2 import RawHttp2, message_head
from running import Server, serving
from scoreboard import Bar, Finding, Row

_MESSAGE_BYTES = 8 << 20
_MIB = 1 << 20
_GROWTH_MIB, _RETURNED_MIB = 256, 64
"""128 MiB of unfinished bytes plus what arrives before the next check; and the memory that a worker keeps afterwards."""
_CALL = INFERENCE + "ModelInfer"
_NO_BUDGET = """
from mlrf.serving.runtime.admission import Admission
Admission.free_bytes = lambda self: 1 << 60
"""


def _footprint(pid: int) -> int:
    """Return the anonymous memory of a process."""
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return (int(fields[1]) - int(fields[2])) * 4096


def _hold_back(server: Server, n_streams: int, limit_s: float) -> None:
    with contextlib.suppress(OSError, EOFError), RawHttp2(int(address_of(server).rpartition(":")[2])) as client:
        client.receive(1.0)
        sizes = {}
        for _ in range(n_streams):
            stream = client.call(_CALL)
            client.send(stream, message_head(_MESSAGE_BYTES))
            sizes[stream] = _MESSAGE_BYTES - 1
        client.fill(sizes, limit_s)
        until = time.monotonic() + limit_s
        while time.monotonic() < until:
            client.receive(0.1)


def _found(n_streams: int, limit_s: float, broken_by: str) -> Finding:
    with tempfile.TemporaryDirectory() as folder:
        path = write_bundle(Path(folder) / "b")
        options = ["--grpc-port", "0", "--request-timeout", str(limit_s)]
        with serving(path, workers=1, options=options, broken_by=broken_by) as server, Peer(address_of(server)) as peer:
            (pid,) = server.workers()
            assert isinstance(peer.ask("ServerLive"), bytes)
            before = peak = _footprint(pid)
            clients = [threading.Thread(target=_hold_back, args=(server, n_streams // 2, limit_s)) for _ in range(2)]
            for each in clients:
                each.start()
            n_failed = 0
            while any(each.is_alive() for each in clients):
                peak = max(peak, _footprint(pid))
                n_failed += not isinstance(peer.ask("ServerLive"), bytes)
                time.sleep(0.02)
            until = time.monotonic() + 20
            while (after := _footprint(pid)) - before > _RETURNED_MIB * _MIB and time.monotonic() < until:
                time.sleep(0.2)
            replaced = server.workers() != [pid]
    return Finding.of(
        Bar("growth MiB", (peak - before) / _MIB, _GROWTH_MIB),
        Bar("kept MiB", (after - before) / _MIB, _RETURNED_MIB),
        Bar("failed probes", n_failed, 0),
        Bar("workers replaced", replaced, 0),
    )


def measure(planted: bool) -> Finding:
    """Hold back the end of 200 messages; with the fault, there is no budget for them."""
    return _found(200, 7.5, _NO_BUDGET if planted else "")


def brief(planted: bool) -> Finding:
    """Hold back the end of fewer messages, for less time."""
    return _found(100, 3.0, _NO_BUDGET if planted else "")


ROW = Row(
    27,
    "200 gRPC streams that hold back the last byte of 8 MiB",
    f"at most {_GROWTH_MIB} MiB, which are freed; others are answered",
    "no budget of unfinished bytes",
    measure,
    brief,
)

"""Limits of incomplete gRPC messages: the time of each and the memory of all.

grpcio buffers up to 64 KiB of a message before it is read, and then up to its whole length, and does not report how much has
arrived. The bytes in all unfinished messages are at most the number of messages being read times the largest message, and at
most the growth of the process in the time that a message may take. The lower of the two bounds is counted, together with the
unfinished bodies of HTTP requests (ADR 13).
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter, deque
from collections.abc import Callable
from time import perf_counter
from typing import Any

from mlrf.core.errors import MlrfError, OverloadedError, RequestTimeoutError
from mlrf.serving.oip.grpc.footprint import footprint_bytes, trim_memory
from mlrf.serving.runtime.admission import Admission

_SWEEP_S = 0.5
_TRIMMING_SWEEPS = 20
_GROWN_BYTES = 64 << 20
"""Growth of the process after which free memory is given back to the system."""
_CHECK_S = 0.02
"""Seconds between checks of memory while messages could fill it."""
_EVICTED_SHARE = 4
"""One in this many messages of the peer with most messages is refused at each check."""


class _Read:
    """One message that is being read, its peer, and its time limit."""

    __slots__ = ("fault", "host", "is_stream", "peer", "task", "until_s")

    def __init__(self, task: asyncio.Task[Any], peer: str, until_s: float, *, is_stream: bool) -> None:
        self.task = task
        self.peer = peer
        self.host = host_of(peer)
        self.until_s = until_s
        self.is_stream = is_stream
        self.fault: MlrfError | None = None
        """Why the read was ended; None while it continues."""

    def end(self, fault: MlrfError) -> None:
        """End the read, which raises the fault."""
        if self.fault is None:
            self.fault = fault
            self.task.cancel()


class UnfinishedMessages:
    """Reads the messages of all calls of a worker, within limits of time and memory."""

    def __init__(
        self,
        admission: Admission,
        max_message_bytes: int,
        request_timeout_s: float,
        idle_timeout_s: float,
        note_message: Callable[[str, int], None],
    ) -> None:
        """Allow `request_timeout_s` for the message of a unary call, `idle_timeout_s` for the next message of a stream.

        `note_message` is called with the peer and the size of each complete message.
        """
        self._note_message = note_message
        self._admission = admission
        self._max_message_bytes = max_message_bytes
        self._limits_s = {False: request_timeout_s, True: idle_timeout_s}
        self._reads: dict[_Read, None] = {}
        """In the order in which they started."""
        self._footprints: deque[int] = deque(maxlen=math.ceil(max(request_timeout_s, idle_timeout_s) / _SWEEP_S))
        """Memory of the process at each sweep, for as long as a message may take."""
        self._check: asyncio.TimerHandle | None = None
        self._sweep: asyncio.TimerHandle | None = None
        self._sweeps_to_trim = 0

    def start(self) -> None:
        """Start enforcing the limits; call it on the event loop."""
        self._sweep_now()

    def stop(self) -> None:
        """Stop enforcing the limits."""
        for timer in (self._check, self._sweep):
            if timer is not None:
                timer.cancel()

    async def read(self, context: Any, *, is_stream: bool) -> Any:
        """Return the next message of a call, or grpcio's EOF; RequestTimeoutError or OverloadedError if it was ended."""
        task = asyncio.current_task()
        if task is None:
            raise AssertionError("a call must run in a task")
        read = _Read(task, context.peer(), perf_counter() + self._limits_s[is_stream], is_stream=is_stream)
        self._reads[read] = None
        if self._check is None and self._most_bytes() > self._admission.free_bytes():
            self._check = asyncio.get_running_loop().call_later(_CHECK_S, self._check_memory)
        try:
            content = await context.read()
        except asyncio.CancelledError:
            if read.fault is None:
                raise
            task.uncancel()
            raise read.fault from None
        finally:
            del self._reads[read]
        if isinstance(content, bytes):
            self._note_message(read.peer, len(content))
        return content

    def peers(self) -> set[str]:
        """Return the peers that a message is being read from."""
        return {read.peer for read in self._reads}

    def end_streams(self, fault: MlrfError) -> None:
        """End the reads of streams with a fault."""
        for read in tuple(self._reads):
            if read.is_stream:
                read.end(fault)

    def _most_bytes(self) -> int:
        return len(self._reads) * self._max_message_bytes

    def _sweep_now(self) -> None:
        now_s = perf_counter()
        for read in tuple(self._reads):
            if now_s > read.until_s:
                limit_s = self._limits_s[read.is_stream]
                read.end(
                    RequestTimeoutError(
                        f"the message was incomplete after {limit_s:g} s; send it faster, or call again"
                    )
                )
        if self._sweeps_to_trim and self._check is None:
            # The memory of a connection is free only once grpcio has closed it.
            self._sweeps_to_trim -= 1
            trim_memory()
        footprint = footprint_bytes()
        if footprint > min(self._footprints, default=footprint) + _GROWN_BYTES:
            # The process also grows by other things: metadata, or streams that the client gave up.
            self._sweeps_to_trim = _TRIMMING_SWEEPS
        self._footprints.append(footprint)
        self._sweep = asyncio.get_running_loop().call_later(_SWEEP_S, self._sweep_now)

    def _check_memory(self) -> None:
        """Refuse the oldest messages of the peer with the most messages while all together could exceed the free budget."""
        self._check = None
        free_bytes = self._admission.free_bytes()
        if self._most_bytes() <= free_bytes:
            self._admission.elsewhere_bytes = 0
            return
        self._sweeps_to_trim = _TRIMMING_SWEEPS
        footprint = footprint_bytes()
        buffered_bytes = self._most_bytes()
        if footprint:
            grown_bytes = footprint - min(self._footprints, default=0) - self._admission.unfinished_bytes
            buffered_bytes = max(0, min(buffered_bytes, grown_bytes))
        self._admission.elsewhere_bytes = buffered_bytes
        if buffered_bytes > free_bytes:
            host, n_reads = Counter(read.host for read in self._reads).most_common(1)[0]
            n_ended = math.ceil(n_reads / _EVICTED_SHARE)
            for read in [read for read in self._reads if read.host == host][:n_ended]:
                read.end(
                    OverloadedError("unfinished requests use all of this worker's memory for them; try again later")
                )
            trim_memory()
        self._check = asyncio.get_running_loop().call_later(_CHECK_S, self._check_memory)


def host_of(peer: str) -> str:
    """Return grpcio's name of a peer ("ipv4:127.0.0.1:1") without the port."""
    return peer.rpartition(":")[0]

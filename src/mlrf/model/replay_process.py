"""Replays golden rows in a child process, for a parent that must not import an engine and must survive a model that crashes.

ONNX Runtime and NumPy start threads, and threads do not survive a fork, so a process that forks workers replays golden rows in
a child. If a model crashes the child or exceeds the time limit, only that model is refused, and another child continues with
the models after it.
"""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO

import msgspec

from mlrf.core.bundle import Bundle
from mlrf.core.errors import MlrfError
from mlrf.core.parent_death import die_with_parent
from mlrf.engines.selection import open_engine
from mlrf.model.replay import LIMIT_S, replay
from mlrf.model.row_predictor import RowPredictor

_GRACE_S = 2.0
"""Seconds between interrupting an engine and killing its process."""
_LENGTH_BYTES = 4

Prepare = Callable[[Bundle], None]
"""Checks a bundle before its replay, in the child process; raises BundleError if it must not serve. No time limit applies."""
Measure = Callable[[RowPredictor], Sequence[Any]]
"""Measures a model that passed its replay, in the child process."""


class Replayed(msgspec.Struct, frozen=True):
    """The outcome of a replay: the reason why it failed, empty if it passed, and then what was measured."""

    reason: str
    measured: Sequence[Any] = ()


def replay_in_child(
    bundles: Sequence[Bundle],
    engine: str | None = None,
    limit_s: float = LIMIT_S,
    meanwhile: Callable[[], None] | None = None,
    measure: Measure = lambda _model: (),
    prepare: Prepare = lambda _bundle: None,
) -> dict[str, Replayed]:
    """Replay the golden rows of bundles in a child process; return the outcomes by model name.

    `meanwhile` is called in this process during the replay. It forks, so no other thread may be running.
    """
    outcomes: dict[str, Replayed] = {}
    waiting = list(bundles)
    while waiting:
        results, end = _in_a_child(waiting, engine, limit_s, meanwhile, measure, prepare)
        meanwhile = None
        if len(results) < len(waiting):
            results.append(Replayed(end))
        outcomes |= {bundle.name: each for bundle, each in zip(waiting, results, strict=False)}
        waiting = waiting[len(results) :]
    return outcomes


def _in_a_child(
    bundles: Sequence[Bundle],
    engine: str | None,
    limit_s: float,
    meanwhile: Callable[[], None] | None,
    measure: Measure,
    prepare: Prepare,
) -> tuple[list[Replayed], str]:
    """Return the outcome for each bundle that a child finished, and why the child stopped early."""
    reading, writing = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        die_with_parent(parent)
        os.close(reading)
        _replay_all(bundles, engine, limit_s, measure, prepare, writing)
    os.close(writing)
    try:
        if meanwhile is not None:
            meanwhile()
        with os.fdopen(reading, "rb") as stream:
            results = [msgspec.msgpack.decode(each, type=Replayed) for each in _messages(stream)]
        _, status = os.waitpid(child, 0)
    except BaseException:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGALRM:
        return results, f"the replay of its golden rows took longer than {limit_s:g} s"
    named = f"signal {signal.Signals(-code).name}" if code < 0 else f"status {code}"
    return results, f"the process that replayed its golden rows ended with {named}"


def _replay_all(
    bundles: Sequence[Bundle], engine: str | None, limit_s: float, measure: Measure, prepare: Prepare, writing: int
) -> None:
    """Replay in this process, write a message for each bundle, and exit."""
    status = 1
    try:
        for number in (signal.SIGTERM, signal.SIGALRM):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(
            signal.SIGINT, signal.SIG_IGN
        )  # Ctrl-C reaches every process of a terminal; the parent ends this one
        for bundle in bundles:
            message = msgspec.msgpack.encode(_replayed(bundle, engine, limit_s, measure, prepare))
            os.write(writing, len(message).to_bytes(_LENGTH_BYTES, "big") + message)
            signal.alarm(0)
        status = 0
    finally:
        os._exit(status)


def _messages(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the messages that a child wrote whole, each of which follows its length."""
    while len(length := stream.read(_LENGTH_BYTES)) == _LENGTH_BYTES:
        message = stream.read(size := int.from_bytes(length, "big"))
        if len(message) == size:
            yield message


def _set_timer(limit_s: float) -> None:
    """Let the operating system end this process after the limit, even if the parent is gone or no Python code runs."""
    signal.alarm(math.ceil(limit_s + _GRACE_S))


def _replayed(bundle: Bundle, engine: str | None, limit_s: float, measure: Measure, prepare: Prepare) -> Replayed:
    try:
        prepare(bundle)
        _set_timer(limit_s)
        model = RowPredictor(bundle, open_engine(bundle, engine))
        replay(model, limit_s=limit_s)
        _set_timer(limit_s)
        return Replayed("", measure(model))
    except MlrfError as error:
        return Replayed(_encodable(str(error)))
    except Exception as error:  # noqa: BLE001  whatever it is, the model cannot be served
        return Replayed(_encodable(f"{bundle.path}: {type(error).__name__}: {error}"))


def _encodable(reason: str) -> str:
    """Return a reason with bytes of a path that are not UTF-8, which a message cannot hold, as escapes."""
    return reason.encode(errors="backslashreplace").decode()

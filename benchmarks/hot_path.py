"""How a request's time is spent inside the worker, without sockets; the rest of a served request is the operating system's.

With an argument it measures, in a separate process: a server connection receives complete requests, and what it
writes is discarded.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from figures import Figure
from plan import Plan

PASSES = 9
BATCH_ROWS = 100


def measure(plan: Plan) -> Iterator[Figure]:
    """Yield the processor time of each part of a request."""
    plan.say("parts of a request, without sockets")
    result = subprocess.run(
        [sys.executable, __file__, str(plan.home("regression"))], check=True, capture_output=True, text=True
    )
    for what, found in json.loads(result.stdout).items():
        yield Figure(f"inside the worker: {what}", found, "us")


class Sink:
    """A transport that discards its output; its socket is the null device."""

    def __init__(self) -> None:
        self._dropped = Path("/dev/null").open("wb")  # noqa: SIM115  open as long as the process

    def get_extra_info(self, _name: str) -> Any:
        return self._dropped

    def get_write_buffer_size(self) -> int:
        return 0

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None


def main(home: Path) -> None:
    """Measure, and print microseconds by part as JSON."""
    from mlrf.model import load  # noqa: PLC0415  the runner must not import it
    from mlrf.model.row_predictor import RowPredictor  # noqa: PLC0415
    from mlrf.serving.arrow.row_reader import RowReader  # noqa: PLC0415
    from mlrf.serving.native.fast_parser import RowDecoder  # noqa: PLC0415

    settings = settings_of(home / "bundle")
    connection = connection_of(home / "bundle", "regression")
    model = load(home / "bundle")
    model_rows = RowPredictor(model.bundle, model.engine)
    decoder = RowDecoder(model.schema, settings.leniency, settings.max_batch)
    bodies = {kind: (home / f"{kind}.jsonl").read_bytes().splitlines() for kind in ("positional", "named", "batch")}
    floats = {kind: [all_floats(body) for body in bodies[kind]] for kind in ("positional", "named")}
    for body in floats["positional"][:1] + floats["named"][:1]:
        decoder.row(body)  # compiles what other forms need
    rows = [decoder.row(body)[0] for body in bodies["positional"]]
    tables = [model_rows.table([row for row, *_ in decoder.rows(body)]) for body in bodies["batch"]]
    margins = [model.engine.margins(table) for table in tables]
    streams = RowReader(model.schema, settings.leniency, settings.max_batch)
    record_batches = arrow_streams(home, model.schema.names)
    gc.collect()
    gc.freeze()  # as a worker does
    parts: dict[str, tuple[Callable[[Any], object], Sequence[Any]]] = {
        "one row, positional, whole": (connection.data_received, requests("/predict", bodies["positional"])),
        "one row, named, whole": (connection.data_received, requests("/predict", bodies["named"])),
        "one row, positional, floats, whole": (connection.data_received, requests("/predict", floats["positional"])),
        "one row, named, floats, whole": (connection.data_received, requests("/predict", floats["named"])),
        "one row: decode positional": (decoder.row, bodies["positional"]),
        "one row: decode named": (decoder.row, bodies["named"]),
        f"one row: engine {model.engine.name}": (model.engine.margin, rows),
        "batch of 100: decode": (decoder.rows, bodies["batch"]),
        "batch of 100: an Arrow stream to a table": (lambda body: streams.rows(body).table, record_batches),
        "batch of 100: decode, and rows to a table": (
            lambda body: model_rows.table([row for row, *_ in decoder.rows(body)]),
            bodies["batch"],
        ),
        f"batch of 100: engine {model.engine.name}": (model.engine.margins, tables),
        "batch of 100: link": (model_rows.predictions, margins),
    }
    print(
        json.dumps({what: [microseconds(call, given) for _ in range(PASSES)] for what, (call, given) in parts.items()})
    )


def settings_of(bundle: Path) -> Any:
    """Return the settings of a server of the bundle without a cache, because the same requests come again."""
    from mlrf.serving.config.loader import read_settings  # noqa: PLC0415

    return read_settings([str(bundle), "--cache", "0"], {})


def connection_of(bundle: Path, name: str) -> Any:
    """Return a connection of a server of the bundle, whose model has the name; what it writes is discarded."""
    from mlrf.core.bundle import read_bundle  # noqa: PLC0415  the runner must not import it
    from mlrf.serving.http.server import HttpServer  # noqa: PLC0415
    from mlrf.serving.http.tls_connection import new_connection  # noqa: PLC0415
    from mlrf.serving.models.service import Service  # noqa: PLC0415
    from mlrf.serving.routes import layout  # noqa: PLC0415
    from mlrf.serving.runtime.control_block import ControlBlock  # noqa: PLC0415
    from mlrf.serving.telemetry.exposition import Exposition  # noqa: PLC0415
    from mlrf.serving.telemetry.worker_meter import WorkerMeter  # noqa: PLC0415

    settings = settings_of(bundle)
    metric_layout = layout([name])
    block = ControlBlock(1, metric_layout.n_words)
    meter = WorkerMeter(metric_layout, block.row(0))
    service = Service([read_bundle(bundle)], settings, meter, Exposition(metric_layout, block, [], ""))
    connection = new_connection(HttpServer(service.generation.router(), settings.limits, meter, _fail, lambda: None))
    connection.connection_made(Sink())
    return connection


def requests(path: str, bodies: Sequence[bytes]) -> list[bytes]:
    """Return the bytes of a request for each body."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ".encode()
    return [b"%b%d\r\n\r\n%b" % (head, len(body), body) for body in bodies]


def all_floats(body: bytes) -> bytes:
    """Return a body whose integers are written as floats, as `df.astype(float)` makes them."""
    features = json.loads(body)["features"]
    if isinstance(features, list):
        return json.dumps({"features": [float(x) if isinstance(x, int) else x for x in features]}).encode()
    named = {name: float(x) if type(x) is int else x for name, x in features.items()}
    return json.dumps({"features": named}).encode()


def arrow_streams(home: Path, names: Sequence[str]) -> list[bytes]:
    """Return Arrow streams of 100 rows each."""
    import pyarrow as pa  # noqa: PLC0415  the runner must not import it
    from pyarrow import parquet  # noqa: PLC0415

    rows = parquet.read_table(home / "rows.parquet").select(list(names))
    streams = []
    for start in range(0, len(rows) - BATCH_ROWS + 1, BATCH_ROWS):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema) as writer:
            writer.write_table(rows.slice(start, BATCH_ROWS).combine_chunks())
        streams.append(sink.getvalue().to_pybytes())
    return streams


def microseconds(call: Callable[[Any], object], given: Sequence[Any]) -> float:
    """Return the mean processor time of a call over its arguments."""
    began = time.process_time()
    for each in given:
        call(each)
    return (time.process_time() - began) / len(given) * 1e6


def _fail(fault: Exception, _request_id: bytes) -> tuple[int, bytes, bytes]:
    raise fault


if __name__ == "__main__":
    main(Path(sys.argv[1]))

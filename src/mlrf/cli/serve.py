"""`mlrf serve`: bundles behind HTTP. Parsed by argparse, for the rest of the command line costs 0.1 s to import."""

from __future__ import annotations

import argparse
from pathlib import Path

from mlrf.core.schema import Leniency
from mlrf.engines.choice import ENGINES
from mlrf.serving.http.server import HttpLimits
from mlrf.serving.logs import LEVELS
from mlrf.serving.settings import ServeSettings, usable_cpus

_EPILOG = """\
examples:
  mlrf serve sales-bundle                          one model on http://127.0.0.1:8080, a worker a processor
  mlrf serve a-bundle b-bundle --default a         two models; /predict asks a, /models/b/predict asks b
  mlrf serve sales-bundle --host 0.0.0.0 --port 80 --workers 4

  curl localhost:8080/docs shows the routes with an example request of the served model.

exit status: 0 stopped, 1 failed, 2 an option is wrong or the port is in use, 3 a bundle is bad
"""


def main(argv: list[str]) -> int:
    """Run the command with its arguments; MlrfError when it cannot serve."""
    settings = read_settings(argv)
    from mlrf.serving.processes.arbiter import serve  # noqa: PLC0415  --help needs no server

    serve(settings)
    return 0


def read_settings(argv: list[str]) -> ServeSettings:
    """Return the settings that the arguments ask for; ConfigError when one has a wrong value."""
    given = _parser().parse_args(argv)
    return ServeSettings(
        bundles=tuple(given.bundles),
        host=given.host,
        port=given.port,
        workers=given.workers,
        default=given.default,
        engine=given.engine,
        leniency=Leniency(given.unknown_features, given.unknown_categories),
        max_batch=given.max_batch,
        limits=HttpLimits(
            max_body_bytes=given.max_body_bytes,
            max_header_bytes=given.max_header_bytes,
            max_header_fields=given.max_header_fields,
            request_timeout_s=given.request_timeout,
            idle_timeout_s=given.idle_timeout,
            write_timeout_s=given.write_timeout,
        ),
        backlog=given.backlog,
        drain_timeout_s=given.drain_timeout,
        worker_timeout_s=given.worker_timeout,
        admin=given.admin,
        log_level=given.log_level,
    )


def _parser() -> argparse.ArgumentParser:
    limits = HttpLimits()
    parser = argparse.ArgumentParser(
        prog="mlrf serve",
        description="Serve bundles over HTTP.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("bundles", nargs="+", type=Path, metavar="BUNDLE", help="a bundle that `mlrf build` made")
    add("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    add("--port", default=8080, type=int, help="port to listen on; 0 for any free one (%(default)s)")
    add("--workers", default=usable_cpus(), type=int, help="worker processes (one a processor: %(default)s)")
    add("--default", metavar="NAME", help="the model that /predict asks (the first bundle's)")
    add("--engine", choices=ENGINES, help="the engine that answers (the best that the bundle has files for)")
    add("--max-batch", default=100, type=int, metavar="N", help="instances a batch may hold (%(default)s)")
    add(
        "--unknown-features",
        choices=("refuse", "ignore"),
        default="refuse",
        help="names that are no feature (%(default)s)",
    )
    add("--unknown-categories", choices=("refuse", "missing"), default="refuse", help="values in no list (%(default)s)")
    add("--max-body-bytes", default=limits.max_body_bytes, type=int, metavar="N", help="largest body (%(default)s)")
    add("--max-header-bytes", default=limits.max_header_bytes, type=int, metavar="N", help="largest head (%(default)s)")
    add(
        "--max-header-fields",
        default=limits.max_header_fields,
        type=int,
        metavar="N",
        help="most headers (%(default)s)",
    )
    add(
        "--request-timeout",
        default=limits.request_timeout_s,
        type=float,
        metavar="S",
        help="to receive one (%(default)s)",
    )
    add(
        "--idle-timeout",
        default=limits.idle_timeout_s,
        type=float,
        metavar="S",
        help="of a kept connection (%(default)s)",
    )
    add(
        "--write-timeout",
        default=limits.write_timeout_s,
        type=float,
        metavar="S",
        help="of a slow reader (%(default)s)",
    )
    add("--backlog", default=2048, type=int, metavar="N", help="connections that may wait, a worker (%(default)s)")
    add("--drain-timeout", default=10.0, type=float, metavar="S", help="to finish requests at exit (%(default)s)")
    add(
        "--worker-timeout", default=5.0, type=float, metavar="S", help="until a silent worker is replaced (%(default)s)"
    )
    add("--admin", metavar="ADDRESS", help="unix:/PATH or HOST:PORT for admin routes (none)")
    add("--log-level", choices=tuple(LEVELS)[:4], default="info", help="(%(default)s)")
    return parser

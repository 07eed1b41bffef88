"""Modules that the server must not import at its start: each costs memory and a tenth of a second."""

from __future__ import annotations

import json
import resource
import subprocess
import sys

import pytest

from bundles import NUMBERS, write_tree_bundle
from raw_http import request
from running import eventually, serving

_LIST_MODULES = "import json, sys; {}; print(json.dumps(sorted(sys.modules)))"


def all_modules_after(statement: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", _LIST_MODULES.format(statement)], capture_output=True, text=True, timeout=300, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def modules_after(statement: str) -> set[str]:
    return {name.partition(".")[0] for name in all_modules_after(statement)}


@pytest.mark.parametrize(
    "statement", ["import mlrf.cli.serve", "import mlrf.serving.processes.startup, mlrf.serving.processes.run_server"]
)
def test_the_arbiter_imports_neither_an_engine_nor_a_console(statement):
    heavy = {
        "typer",
        "rich",
        "click",
        "pandas",
        "pyarrow",
        "polars",
        "numpy",
        "onnxruntime",
        "onnx",
        "lightgbm",
        "prometheus_client",
        "opentelemetry",
        "grpc",
        "google",
        "tomllib",
    }
    assert modules_after(statement) & heavy == set()


def test_few_modules_are_imported_before_the_replay():
    """What is imported later costs no time: a child process replays meanwhile."""
    found = all_modules_after("import mlrf.cli.serve, mlrf.serving.processes.startup")
    later = {
        "asyncio",
        "email",
        "gunicorn.arbiter",
        "httptools",
        "logging",
        "mlrf.serving.http.head",
        "mlrf.serving.models.service",
        "mlrf.serving.processes.run_server",
        "mlrf.serving.routes",
        "ssl",
        "uvloop",
    }
    assert found & later == set()
    assert len(found) < 260


def _service(bundle):
    """Return statements that make the service of a bundle, `s`."""
    return (
        "from mlrf.core.bundle import read_bundle; from mlrf.serving.config.settings import ServeSettings; "
        "from mlrf.serving.models.service import Service; from mlrf.serving.processes import run_server; "
        "from mlrf.serving.routes import layout; from mlrf.serving.runtime.control_block import ControlBlock; "
        "from mlrf.serving.telemetry.exposition import Exposition; "
        "from mlrf.serving.telemetry.worker_meter import WorkerMeter; "
        f"b = read_bundle({str(bundle)!r}); l = layout([b.name]); c = ControlBlock(1, l.n_words); "
        "s = Service([b], ServeSettings(bundles=(b.path,)), WorkerMeter(l, c.row(0)), Exposition(l, c, [], ''))"
    )


def test_handlers_of_rare_routes_are_imported_with_their_first_request(tmp_path):
    rare = {
        "mlrf.serving.native.curve_handler",
        "mlrf.serving.oip.infer",
        "mlrf.serving.oip.rest.infer_handler",
        "mlrf.serving.platforms.invocations",
        "mlrf.serving.platforms.kserve_v1",
    }
    serve = _service(write_tree_bundle(tmp_path / "b"))
    use = "[h.handler() for r in s.routes.values() for h in r.handlers.values() if type(h).__name__ == 'OnFirstUse']"
    assert all_modules_after(serve) & rare == set()
    assert all_modules_after(f"{serve}; {use}") & rare == rare - {"mlrf.serving.native.curve_handler"}


def test_few_servers_import_keys_and_the_strict_parser(tmp_path):
    serve = _service(write_tree_bundle(tmp_path / "b"))
    found = all_modules_after(
        f"from mlrf.serving.processes import deferred_imports as d; d.defer_unused_imports(); {serve}"
    )
    assert found & {"mlrf.serving.auth.keys", "mlrf.serving.native.strict_parser"} == set()


def test_the_data_plane_of_many_models_is_made_at_the_start(tmp_path):
    serve = _service(write_tree_bundle(tmp_path / "b"))
    many = f"from mlrf.serving.models import generation as g; g.PLANE_MODELS = 0; {serve}"
    assert "mlrf.serving.oip.infer" in all_modules_after(many)


_INPUTS = [{"name": "features", "shape": [1, 3], "datatype": "FP64", "data": [1.0, 2.0, 3.0]}]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [("/v2/models/sample/infer", {"inputs": _INPUTS}, 200), ("/predict", {"features": [1.0]}, 422)],
    ids=["rare route", "invalid body"],
)
def test_without_a_free_file_descriptor_what_is_imported_late_waits_for_one(tmp_path, path, body, status):
    content = request("POST", path, body)
    with (
        serving(write_tree_bundle(tmp_path / "b", schema=NUMBERS), workers=1) as server,
        server.client() as first,
        server.client() as second,
    ):
        server.booted(1)
        for client in (first, second):
            client.send(request("GET", "/healthz"))
            assert client.answer().status == 200
        (worker,) = server.workers()
        _, most = resource.prlimit(worker, resource.RLIMIT_NOFILE)
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (0, most))
        first.send(content)
        answer = first.answer()
        assert (answer.status, answer.code) == (503, "OVERLOADED")
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (most, most))
        second.send(content)
        assert second.answer().status == status
        assert server.troubles == []


def test_a_worker_imports_no_builders_libraries():
    heavy = {
        "typer",
        "rich",
        "click",
        "pandas",
        "pyarrow",
        "polars",
        "onnx",
        "lightgbm",
        "prometheus_client",
        "opentelemetry",
        "grpc",
        "google",
    }
    assert modules_after("import mlrf.serving.models.service, mlrf.engines.onnxruntime, mlrf.model") & heavy == set()


def test_nothing_that_serves_trees_imports_onnx_or_onnx_runtime():
    """Every module below the builder, except the three engines of ONNX models, in a process where both are hidden."""
    statement = (
        "import pkgutil, sys; sys.modules.update({'onnx': None, 'onnxruntime': None}); "
        "from importlib import import_module; import mlrf; "
        "layers = ('core', 'engines', 'model', 'serving'); "
        "needing = tuple(f'mlrf.engines.{each}' for each in ('onnx_graph', 'onnx_session', 'onnxruntime', 'quiet_onnxruntime')); "
        "names = [m.name for m in pkgutil.walk_packages(mlrf.__path__, 'mlrf.') if m.name.split('.')[1] in layers]; "
        "[import_module(name) for name in names if name not in needing]"
    )
    found = modules_after(statement)
    assert "mlrf" in found


REPORT_COLLECTOR = """
import gc, sys, uvloop
from mlrf.serving.processes.arbiter import SlotArbiter
from mlrf.serving.processes.worker import UvloopWorker

def reporting(owner, name, who):
    run = getattr(owner, name)
    def reported(self):
        print('{"event": "collector", "level": "info", "of": "%s", "on": "%s", "frozen": %d}'
              % (who, gc.isenabled(), gc.get_freeze_count()), file=sys.stderr, flush=True)
        return run(self)
    setattr(owner, name, reported)

reporting(SlotArbiter, "run", "arbiter")
reporting(UvloopWorker, "run", "worker")
"""


def test_the_garbage_collector_is_off_for_the_start_alone(tmp_path):
    with serving(write_tree_bundle(tmp_path / "b"), broken_by=REPORT_COLLECTOR) as server:
        found = eventually(lambda: [e for e in server.log if e["event"] == "collector"][1:] and server.log)
    states = {entry["of"]: entry for entry in found if entry["event"] == "collector"}
    assert {name: entry["on"] for name, entry in states.items()} == {"arbiter": "True", "worker": "True"}
    assert states["worker"]["frozen"] >= states["arbiter"]["frozen"] > 10_000


REPORT_MODULES = """
import json, sys
from mlrf.serving.processes.worker_boot import WorkerBoot

noted = WorkerBoot.note_answered
def reported(self, slot):
    print(json.dumps({"event": "modules", "level": "info", "names": sorted(sys.modules)}), file=sys.stderr, flush=True)
    noted(self, slot)
WorkerBoot.note_answered = reported
"""
UNUSED_BY_THE_FIRST_ANSWER = (
    "email.header", "email.message", "encodings.idna", "google", "grpc", "hpack", "html.entities", "importlib.metadata._meta",
    "lmdb", "mlrf.builder", "mlrf.cli.app", "mlrf.scoring",
    "mlrf.serving.http2", "mlrf.serving.oip.grpc.server", "mlrf.serving.pages.docs", "mlrf.serving.pages.openapi",
    "mlrf.serving.telemetry.tracing", "mlrf.signing", "mlrf.stores.open_store", "numpy", "onnxruntime", "opentelemetry", "pyarrow",
    "redis", "rich", "tomllib", "typer", "zipfile",
)  # fmt: skip


def test_a_worker_of_trees_imports_little_until_it_answers(tmp_path):
    with serving(write_tree_bundle(tmp_path / "b"), broken_by=REPORT_MODULES) as server:
        [report] = eventually(lambda: [entry for entry in server.log if entry["event"] == "modules"])
        for path in ("/openapi.json", "/docs"):  # what was not imported then is imported on request
            assert server.ask("GET", path).status == 200
    imported = report["names"]
    assert [n for n in imported if n.startswith(tuple(f"{unused}." for unused in UNUSED_BY_THE_FIRST_ANSWER))] == []
    assert set(imported) & set(UNUSED_BY_THE_FIRST_ANSWER) == set()
    assert len(imported) < 512

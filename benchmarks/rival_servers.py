"""The servers of the table of rivals: how each is made, started, and asked."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contenders import HOST, MLRF, PEER, PEERS, BenchmarkError, free_port
from rival_environments import HOME, python_of, run

_PROGRAMS = HOME / "programs"
_RAY_VARIABLES = ("RAY_SERVE_THROUGHPUT_OPTIMIZED=1", "RAY_USAGE_STATS_ENABLED=0")


@dataclass(frozen=True)
class Server:
    """A rival's server. `row_path` and `batch_path` are its routes, `convert` makes its body of mlrf's."""

    name: str
    make: Callable[[Path, int], list[object]]
    """The command that starts it, from a bundle and a port."""
    user_code: tuple[str, ...] = ()
    """Files under peers/ that a user would have to write."""
    row_path: str = "/predict"
    batch_path: str = "/predict/batch"
    convert: Callable[[bytes], bytes] | None = None
    read: Callable[[Any], list[float]] = lambda answer: answer.get("predictions") or [answer["prediction"]]

    def command(self, bundle: Path, port: int, workers: int) -> list[str]:
        """Return the command that starts it with one worker."""
        assert workers == 1
        return list(map(str, self.make(bundle, port)))

    @property
    def n_lines(self) -> int:
        """Lines of code that a user would have to write, without blank lines and comments."""
        lines = [line.strip() for file in self.user_code for line in (PEERS / file).read_text().splitlines()]
        return sum(1 for line in lines if line and not line.startswith(("#", "//", '"""')))


def _go(tuned: str) -> Callable[[Path, int], list[object]]:
    def make(bundle: Path, port: int) -> list[object]:
        library = next(
            python_of("Go").parent.parent.glob("lib/python*/site-packages/onnxruntime/capi/libonnxruntime.so.*")
        )
        links, program = _PROGRAMS / "lib", _PROGRAMS / "record"
        if not program.exists():
            links.mkdir(parents=True, exist_ok=True)
            link = links / "libonnxruntime.so.1"
            link.unlink(missing_ok=True)
            link.symlink_to(library)
            go = python_of("Go").with_name("go")
            cached = {
                "GOCACHE": str(_PROGRAMS / "go-cache"),
                "CGO_LDFLAGS": f"-L{links}",
                "CGO_CFLAGS": "-O2 -w -std=gnu11",
            }
            run([go, "build", "-C", PEERS / "go", "-o", program], **cached)
        return ["env", f"LD_LIBRARY_PATH={links}", f"TUNED={tuned}", program, port, bundle / "model.onnx"]

    return make


def _cpp(bundle: Path, port: int) -> list[object]:
    program, sources = _PROGRAMS / "epoll", _PROGRAMS / "trees"
    if not program.exists():
        shutil.rmtree(sources, ignore_errors=True)
        sources.mkdir(parents=True)
        generate = (
            "import sys, treelite, tl2cgen\n"
            "model = treelite.frontend.load_lightgbm_model(sys.argv[1])\n"
            "tl2cgen.generate_c_code(model, sys.argv[2], {'parallel_comp': 8})\n"
        )
        run([python_of("C++"), "-c", generate, bundle.with_name("model.txt"), sources])
        for source in sorted(sources.glob("*.c")):
            run(["gcc", "-O2", "-c", source, "-o", source.with_suffix(".o")])
        run(["g++", "-O2", "-std=c++20", PEERS / "epoll_tl2cgen.cpp", *sources.glob("*.o"), "-o", program])
    return [program, port]


def _bentoml(_: Path, port: int) -> list[object]:
    bento = python_of("BentoML").with_name("bentoml")
    quiet = "BENTOML_CONFIG_OPTIONS=api_server.logging.access.enabled=false"
    return [
        "env",
        quiet,
        bento,
        "serve",
        "bentoml_service:Sales",
        "--working-dir",
        PEERS,
        "--host",
        HOST,
        "--port",
        port,
    ]


def _mlserver(bundle: Path, port: int) -> list[object]:
    folder = _PROGRAMS / "mlserver"
    folder.mkdir(parents=True, exist_ok=True)
    # Its own worker processes cost a copy of each request between processes: without them it is faster.
    settings = {
        "host": HOST,
        "http_port": port,
        "grpc_port": free_port(),
        "metrics_port": free_port(),
        "parallel_workers": 0,
        "debug": False,
    }
    model = {
        "name": "sales",
        "implementation": "mlserver_lightgbm.LightGBMModel",
        "parameters": {"uri": str(bundle.with_name("model.txt"))},
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))
    return ["env", "OMP_NUM_THREADS=1", python_of("MLServer").with_name("mlserver"), "start", folder]


def _script(rival: str, file: str, *variables: str) -> Callable[[Path, int], list[object]]:
    """Return how a server is started that is a script of its own, which takes a port."""
    return lambda _, port: ["env", "OMP_NUM_THREADS=1", *variables, python_of(rival), PEERS / file, port]


def _mlflow(bundle: Path, port: int) -> list[object]:
    mlflow, model = python_of("MLflow").with_name("mlflow"), _PROGRAMS / "mlflow"
    if not model.exists():
        run([python_of("MLflow"), PEERS / "mlflow_save.py", bundle.with_name("model.txt"), model])
    # MLflow starts the uvicorn that is first in PATH.
    variables = ("OMP_NUM_THREADS=1", "UVICORN_ACCESS_LOG=false", f"PATH={mlflow.parent}:{os.environ['PATH']}")
    served = ("-m", model, "-h", HOST, "-p", port, "-w", "1", "--env-manager", "local")
    return ["env", *variables, mlflow, "models", "serve", *served]


def _rows(body: bytes) -> list[list[float | None]]:
    sent = json.loads(body)
    return [each["features"] for each in sent.get("instances", [sent])]


def _listed(member: str) -> Callable[[bytes], bytes]:
    """Return what makes a body that has the rows as a member."""
    return lambda body: json.dumps({member: _rows(body)}).encode()


def _tensor(body: bytes) -> bytes:
    """Return an inference request of the Open Inference Protocol."""
    rows = _rows(body)
    values = [value for row in rows for value in row]
    tensor = {"name": "features", "shape": [len(rows), len(rows[0])], "datatype": "FP64", "data": values}
    return json.dumps({"inputs": [tensor]}).encode()


SERVERS: dict[str, Server] = {
    "mlrf": Server("mlrf", lambda bundle, port: MLRF.command(bundle, port, 1)),
    "FastAPI": Server("FastAPI", lambda bundle, port: PEER.command(bundle, port, 1), ("fastapi_onnxruntime.py",)),
    "Go": Server("Go", _go("0"), ("go/main.go",)),
    "Go tuned": Server("Go tuned", _go("1"), ("go/main.go",)),
    "C++": Server("C++", _cpp, ("epoll_tl2cgen.cpp",)),
    "BentoML": Server("BentoML", _bentoml, ("bentoml_service.py",)),
    "MLServer": Server(
        "MLServer",
        _mlserver,
        row_path="/v2/models/sales/infer",
        batch_path="/v2/models/sales/infer",
        convert=_tensor,
        read=lambda answer: answer["outputs"][0]["data"],
    ),
    "LitServe": Server("LitServe", _script("LitServe", "litserve_api.py"), ("litserve_api.py",), batch_path="/predict"),
    "Ray Serve": Server("Ray Serve", _script("Ray Serve", "ray_serve_app.py", *_RAY_VARIABLES), ("ray_serve_app.py",)),
    "MLflow": Server(
        "MLflow",
        _mlflow,
        ("mlflow_save.py",),
        row_path="/invocations",
        batch_path="/invocations",
        convert=_listed("inputs"),
    ),
    "KServe": Server(
        "KServe",
        _script("KServe", "kserve_model.py"),
        ("kserve_model.py",),
        row_path="/v1/models/sales:predict",
        batch_path="/v1/models/sales:predict",
        convert=_listed("instances"),
    ),
}


def prepare(server: Server, bundle: Path) -> None:
    """Make the server's environment and program; BenchmarkError says why that is impossible."""
    if server.name not in ("mlrf", "FastAPI"):
        python_of(server.name)
    if shutil.which("gcc") is None:
        raise BenchmarkError("a C compiler is needed: apt-get install g++")
    server.command(bundle, 0, 1)


def bodies_of(server: Server, bodies: Path) -> Path:
    """Return the file of bodies as the server takes them."""
    if server.convert is None:
        return bodies
    converted = HOME / f"{server.name}-{bodies.name}"
    if not converted.exists():
        converted.write_bytes(b"\n".join(map(server.convert, bodies.read_bytes().splitlines())) + b"\n")
    return converted

"""`make conformance`: asks a running server with every client as it is installed, and writes docs/reference/conformance.md.

Ends with status 1 where a call differs without a reason.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from bundles import write_tree_bundle
from grpc_peer import address_of
from mlrf import __version__
from mlrf.core.feature import Feature, Kind
from mlrf.core.manifest import LinkEntry
from mlrf.core.schema import Schema
from running import serving

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]
PAGE = ROOT / "docs/reference/conformance.md"
VENV = os.environ.get("VENV", ".venv")
SCRIPTS = {
    "triton.py": f"{VENV}-clients",
    "kserve_sdk.py": f"{VENV}-clients",
    "mlflow_client.py": f"{VENV}-conformance/mlflow",
    "sagemaker_client.py": f"{VENV}-conformance/sagemaker",
    "mlserver_codecs.py": f"{VENV}-conformance/mlserver",
    "vertex_sdk.py": f"{VENV}-conformance/vertex",
    "frames.py": VENV,
}
"""By script: the environment that it runs in."""
NUMBERS = Schema(
    (Feature("price", example=9.5), Feature("count", Kind.INTEGER, example=3), Feature("depth", example=0.25))
)
HEAD = """# Conformance

Clients of other servers and platforms, unmodified, against `mlrf serve`. `make conformance` installs each in an environment of its own, makes
the calls and writes this page; "same" means that the client returns the numbers or labels of `/predict/batch`, to the bit.

| client | call | result | why |
|---|---|---|---|
"""


def main() -> int:
    folder = Path(tempfile.mkdtemp(prefix="mlrf-conformance-"))
    classifier = {"task": "binary", "link": LinkEntry("sigmoid"), "classes": ["no", "yes"], "predict_returns": "label"}
    sample = write_tree_bundle(folder / "sample", schema=NUMBERS)
    labels = write_tree_bundle(folder / "labels", name="labels", schema=NUMBERS, seed=10, **classifier)
    with (
        serving(sample, labels, options=["--grpc-port", "0"]) as server,
        serving(sample, options=["--platform", "mlflow"]) as mlflow,
        serving(sample, options=["--platform", "sagemaker"]) as sagemaker,
        # The path that the SDK's local endpoint takes by default.
        serving(sample, options=["--platform", "vertex", "--predict-route", "/predict"]) as vertex,
    ):
        rows = [[i / 7 - 1, i, 2.5 - i / 3] for i in range(9)]
        body = {"instances": [{"features": row} for row in rows]}
        native = server.ask("POST", "/models/sample/predict/batch", body | {"explain": True}).json
        labelled = server.ask("POST", "/models/labels/predict/batch", body).json
        target = {
            "address": f"127.0.0.1:{server.port}",
            "grpc_address": address_of(server),
            "mlflow_address": f"127.0.0.1:{mlflow.port}",
            "sagemaker_address": f"127.0.0.1:{sagemaker.port}",
            "vertex_address": f"localhost:{vertex.port}",
            "version": __version__,
            "rows": rows,
            "numbers": [[float(value) for value in row] for row in rows],
            "records": [dict(zip(NUMBERS.names, row, strict=True)) for row in rows],
            "predictions": native["predictions"],
            "margins": [each["margin"] for each in native["explanations"]],
            "labels": labelled["labels"],
            "probabilities": labelled["probabilities"],
        }
        found = [line for script, environment in SCRIPTS.items() for line in _run(script, ROOT / environment, target)]
    lines = [f"| {each['client']} | {each['call']} | {each['result']} | {each['reason']} |\n" for each in found]
    PAGE.write_text(HEAD + "".join(lines) + _GENERATED, encoding="utf-8")
    unexplained = [each for each in found if each["result"] != "same" and not each["reason"]]
    for each in unexplained:
        print(f"differs: {each['client']}, {each['call']}: {each['shown']}", file=sys.stderr)
    print(
        f"{len(found)} calls, {sum(each['result'] == 'same' for each in found)} the same; {PAGE.relative_to(ROOT)} written"
    )
    return 1 if unexplained else 0


_GENERATED = """
Clients that openapi-python-client and OpenAPI Generator make of `/openapi.json` are run by `make test-clients`
(`tests/wire/test_generated_clients.py`). perf_analyzer's wheel needs a newer C library than the tests have; the rule of its counters
(`queue.count` includes cache hits) has a test instead. The local endpoint of the Vertex AI SDK starts its container with Docker; here the server was started without, and the
endpoint makes its requests to it.
"""


def _run(script: str, environment: Path, target: dict[str, object]) -> list[dict[str, str]]:
    done = subprocess.run(
        [environment / "bin/python", HERE / script, json.dumps(target)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"client"')]
    if done.returncode or not lines:
        lines.append({"client": script, "call": "all", "result": "differs", "reason": "", "shown": done.stderr[-2000:]})
    return lines


if __name__ == "__main__":
    sys.exit(main())

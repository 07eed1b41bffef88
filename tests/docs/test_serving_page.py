"""The server pages of docs/reference match the code: codes, statuses, metrics, options."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

import mlrf
from mlrf.cli import main
from mlrf.core import errors
from mlrf.core.errors import MlrfError, RequestError
from mlrf.serving.config.argument_parser import shown
from mlrf.serving.config.settings import OPTIONS
from mlrf.serving.error_status import TABLE, error_status_of
from mlrf.serving.routes import layout, route_labels
from mlrf.serving.runtime.control_block import ControlBlock
from mlrf.serving.telemetry.exposition import Exposition
from mlrf.serving.telemetry.worker_meter import WorkerMeter

ROOT = Path(__file__).parents[2]
PAGES = ("server", "options", "routes", "errors", "metrics")
PAGE = "\n".join((ROOT / f"docs/reference/{name}.md").read_text(encoding="utf-8") for name in PAGES)
README = (ROOT / "README.md").read_text(encoding="utf-8")
OFFLINE = (
    "build",
    "inspect",
    "verify",
    "sign",
    "keygen",
    "versions",
    "predict",
    "score",
    "replay",
    "explain",
    "bench",
    "publish",
    "rollback",
    "gc",
    "diff",
    "image",
    "deploy",
    "keys",
    "features",
    "demo",
)

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, MlrfError)]
ABSTRACT = {"MlrfError", "RequestError"}
"""Base classes of the error tree, which are never raised."""


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def documented_codes() -> dict[str, int]:
    rows = re.findall(r"^\| (\d{3}) \| ([A-Z_, ]+) \|", section("Errors"), re.MULTILINE)
    return {code: int(status) for status, codes in rows for code in codes.split(", ")}


def test_error_table_has_every_code_and_status():
    kinds = [k for k in KINDS if k.__name__ not in ABSTRACT and (issubclass(k, RequestError) or k in TABLE)]
    expected = {kind.code: error_status_of(kind("")).http for kind in kinds} | {"INTERNAL": 500}
    assert documented_codes() == expected


@pytest.mark.parametrize("kind", [k for k in KINDS if k.__name__ not in ABSTRACT], ids=lambda kind: kind.__name__)
def test_every_code_is_on_the_page(kind):
    assert re.search(rf"\b{kind.code}\b", section("Errors"))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_is_drawn_in_the_tree_with_its_code(kind):
    tree = errors.__doc__
    line = next(line for line in tree.splitlines() if re.search(rf"\b{kind.__name__}\b", line))
    if kind is not MlrfError:
        assert kind.code in line
    codes = [other.code for other in KINDS]
    assert codes.count(kind.code) == 1


def test_metric_table_matches_the_metrics():
    block = ControlBlock(1, layout(["m"]).n_words)
    WorkerMeter(layout(["m"]), block.row(0))
    exposition = Exposition(layout(["m"]), block, [{"model": "m", "version": "0"}], "0")
    exposition.set_refused([{"model": "m", "version": "1"}])
    text = exposition.text().decode()
    exposed: dict[str, tuple[str, set[str]]] = {}
    for family in text_string_to_metric_families(text):
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        name = family.name + "_total" * (family.type == "counter")
        exposed[name] = family.type, labels
    row = r"^\| `(mlrf_\w+)` \| (\w+) \|([^|]*)\|"
    documented = {
        name: (kind, set(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in re.findall(row, section("Metrics"), re.MULTILINE)
    }
    assert documented == exposed


def test_option_table_matches_the_options_of_serve():
    rows = dict(re.findall(r"^\| `([^`]+)` \| ([^|]*) \|", section("Options"), re.MULTILINE))
    assert rows.keys() == {each.flag for each in OPTIONS}
    documented = {flag: default.strip() for flag, default in rows.items()}
    fixed = [each for each in OPTIONS if not each.computed and each.default not in (None, ())]
    assert {each.flag: documented[each.flag] for each in fixed} == {each.flag: shown(each.default) for each in fixed}


@pytest.mark.parametrize("command", [*OFFLINE, "serve"])
def test_every_command_has_help_and_is_in_the_readme(command, capsys):
    assert main([command, "--help"]) == 0
    written = capsys.readouterr()
    assert f"mlrf {command}" in written.out
    assert written.err == ""
    assert re.search(rf"\bmlrf {command}\b|\bmake {command}\b", README)


def test_no_command_is_left_out_here():
    done = subprocess.run(
        [sys.executable, "-m", "mlrf", "--help"], capture_output=True, text=True, timeout=300, check=True
    )
    commands = done.stdout.partition("Commands:")[2]
    assert set(re.findall(r"^  ([a-z]+) ", commands, re.MULTILINE)) == {*OFFLINE, "serve"}


@pytest.mark.parametrize("label", [label for label in route_labels(grpc=False) if label != "other"])
def test_every_route_is_documented(label):
    assert re.search(rf"{re.escape(label)}(?!\w)", PAGE + README)


def test_what_the_readme_calls_in_python_is_there():
    for name in re.findall(r"mlrf\.([a-z_]+)\(", README):
        assert hasattr(mlrf, name)
    for name in re.findall(r"model\.([a-z_]+)\(", README):
        assert callable(getattr(mlrf.Model, name))

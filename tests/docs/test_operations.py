"""docs/how-to/operate.md, the dashboard and the alert rules are complete and up to date."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from mlrf.serving.config.settings import OPTIONS
from mlrf.serving.error_status import codes
from mlrf.serving.processes.arbiter import SlotArbiter
from mlrf.serving.routes import layout, route_labels
from mlrf.serving.runtime.control_block import ControlBlock
from mlrf.serving.telemetry.exposition import Exposition
from mlrf.serving.telemetry.worker_meter import WorkerMeter

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/how-to/operate.md").read_text(encoding="utf-8")
DASHBOARD = json.loads((ROOT / "deploy/monitoring/grafana-dashboard.json").read_text(encoding="utf-8"))
ALERTS = yaml.safe_load((ROOT / "deploy/monitoring/alerts.yml").read_text(encoding="utf-8"))
RULES = {rule["alert"]: rule for group in ALERTS["groups"] for rule in group["rules"]}
QUERIES = [t["expr"] for panel in DASHBOARD["panels"] for t in panel.get("targets", [])]
EXPRESSIONS = QUERIES + [rule["expr"] for rule in RULES.values()]
OF_PROMETHEUS = {"instance", "job"}
"""Labels that Prometheus adds to every sample."""


def exposed():
    """Every sample's name, with the labels that it has and their values."""
    block = ControlBlock(1, layout(["m"]).n_words)
    WorkerMeter(layout(["m"]), block.row(0))
    exposition = Exposition(layout(["m"]), block, [{"model": "m", "version": "0"}], "0")
    exposition.set_refused([{"model": "m", "version": "1"}])
    text = exposition.text().decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            for label, value in sample.labels.items():
                found.setdefault(sample.name, {}).setdefault(label, set()).add(value)
            found.setdefault(sample.name, {})
    return found


EXPOSED = exposed()
NAMES = {re.sub("_(bucket|sum|count)$", "", name) if "duration" in name else name for name in EXPOSED}


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_queries_use_existing_metrics_and_labels(expression):
    used = set(re.findall(r"\bmlrf_\w+", expression))
    assert used <= EXPOSED.keys()
    known = {label for name in used for label in EXPOSED[name]} | OF_PROMETHEUS
    for inside in re.findall(r"\{([^}]*)\}", expression):
        for label, pattern in re.findall(r'(\w+)(?:=~|!=|!~|=)"([^"]*)"', inside):
            assert label in known
            if label == "code":
                assert pattern in codes()
            elif label not in OF_PROMETHEUS | {"status"}:
                for value in pattern.split("|"):
                    assert any(value in EXPOSED[name].get(label, ()) for name in used)
    for labels in re.findall(r"\bby \(([^)]*)\)", expression):
        assert set(labels.split(", ")) <= known
    assert expression.count("(") == expression.count(")")
    assert used or expression.startswith("up{")


def test_a_query_of_what_there_is_not_would_be_found():
    with pytest.raises(AssertionError):
        test_queries_use_existing_metrics_and_labels("sum(mlrf_nonsense_total)")
    with pytest.raises(AssertionError):
        test_queries_use_existing_metrics_and_labels('mlrf_requests_total{code="X"}')
    with pytest.raises(AssertionError):
        test_queries_use_existing_metrics_and_labels("sum by (stage) (mlrf_requests_total)")


def test_the_dashboard_shows_every_metric():
    shown = {re.sub("_(bucket|sum|count)$", "", name) for query in QUERIES for name in re.findall(r"\bmlrf_\w+", query)}
    assert shown == NAMES


def test_panels_do_not_overlap_and_name_what_they_show():
    occupied = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & occupied
        assert at["x"] + at["w"] <= 24
        occupied |= cells
        legends = " ".join(target["legendFormat"] for target in panel.get("targets", []))
        for label in re.findall(r"\{\{(\w+)\}\}", legends):
            assert label in {label for labels in EXPOSED.values() for label in labels}
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


@pytest.mark.parametrize("alert", RULES)
def test_every_alert_says_what_it_means_and_the_page_what_to_do(alert):
    assert RULES[alert]["labels"]["severity"] in ("page", "warn")
    assert RULES[alert]["annotations"]["summary"]
    assert f"`{alert}`" in section("Alerts")


def section(title):
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_no_unknown_alert_is_documented():
    assert set(re.findall(r"`(Mlrf\w+)`", section("Alerts"))) == RULES.keys()


def test_every_metric_is_on_the_page_and_no_other():
    assert set(re.findall(r"`(mlrf_\w+)`", PAGE)) == NAMES


def test_documented_limits_match_the_options():
    documented = set(re.findall(r"`(--[a-z-]+)", PAGE))
    limits = {each.flag for each in OPTIONS if each.group in ("limits", "processes", "access", "logs and traces")}
    assert limits - documented == set()
    assert documented - {each.flag for each in OPTIONS} == {"--config"}


@pytest.mark.parametrize("number", signal.Signals)
def test_every_signal_that_the_arbiter_handles_is_on_the_page(number):
    if number in SlotArbiter.SIGNALS and number not in (signal.SIGCHLD, signal.SIGWINCH, signal.SIGURG):
        assert re.search(rf"\b{number.name}\b", section("Signals"))


def test_operator_errors_are_documented():
    for code in ("OVERLOADED", "NOT_READY", "INTERNAL", "FEATURES_UNAVAILABLE", "DEADLINE_EXCEEDED", "STALE_FEATURES"):
        assert code in codes()
        assert code in PAGE


def test_every_event_of_the_log_is_on_the_page():
    logged = set()
    for file in (ROOT / "src/mlrf").rglob("*.py"):
        calls = r"log\.(?:debug|info|warning|error)\((?:\s*#[^\n]*)?\s*\"([A-Za-z][A-Za-z ]+)\""
        logged |= set(re.findall(calls, file.read_text("utf-8")))
    assert {"version not prepared", "worker ready"} <= logged
    documented = {
        event
        for events in re.findall(r"^\| (`[^|]+) \|", section("Log"), re.MULTILINE)
        for event in re.findall(r"`([^`]+)`", events)
    }
    assert documented >= logged


def test_health_routes_are_documented():
    for label in ("/healthz", "/readyz", "/metrics"):
        assert label in route_labels()
        assert label in PAGE

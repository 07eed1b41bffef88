"""promtool accepts the alert rules and the dashboard's queries, and each rule fires in its situation.

On another machine than CI's promtool may be missing (apt-get install prometheus); then this is skipped.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/monitoring/alerts.yml"
NAMES = [rule["alert"] for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((ROOT / "deploy/monitoring/grafana-dashboard.json").read_text("utf-8"))

pytestmark = pytest.mark.skipif(
    shutil.which("promtool") is None and not os.environ.get("CI"), reason="promtool is not installed"
)

QUIET = "0x120"
"""A constant counter."""
OF_A_DAY = {"MlrfMemoryGrows"}
"""Alerts that need a day: their samples are half an hour apart, all others a minute."""
FIRING = {
    "MlrfDown": {'up{job="mlrf"}': "0x120"},
    "MlrfWorkersMissing": {"mlrf_workers_ready": "1x120", "mlrf_workers": "2x120"},
    "MlrfInternalErrors": {'mlrf_refusals_total{code="INTERNAL"}': "0+1x120"},
    "MlrfOverloaded": {
        'mlrf_refusals_total{code="OVERLOADED"}': "0+2x120",
        'mlrf_requests_total{status="200"}': "0+100x120",
    },
    "MlrfSlow": {
        'mlrf_request_duration_seconds_bucket{route="/predict",le="0.025"}': "0+90x120",
        'mlrf_request_duration_seconds_bucket{route="/predict",le="0.05"}': "0+100x120",
        'mlrf_request_duration_seconds_bucket{route="/predict",le="+Inf"}': "0+100x120",
    },
    "MlrfManyRefusals": {
        'mlrf_requests_total{status="422"}': "0+6x120",
        'mlrf_requests_total{status="200"}': "0+94x120",
    },
    "MlrfWorkersFail": {"mlrf_worker_failures_total": "0+1x120"},
    "MlrfModelStoreDown": {"mlrf_model_store_up": "0x120"},
    "MlrfReloadRefused": {'mlrf_reloads_total{outcome="refused"}': "0+1x120"},
    "MlrfVersionsDiffer": {
        'mlrf_bundle_info{model="m",version="a",instance="one"}': "1x120",
        'mlrf_bundle_info{model="m",version="b",instance="two"}': "1x120",
    },
    "MlrfFeatureStoreFails": {"mlrf_feature_store_errors_total": "0+1x120"},
    "MlrfFeaturesOld": {
        "mlrf_feature_age_seconds_total": "0+2000000x120",
        "mlrf_feature_lookups_total": "0+11x120",
        "mlrf_feature_misses_total": "0+1x120",
    },
    "MlrfSharedCacheFails": {"mlrf_shared_cache_failures_total": "0+10x120"},
    "MlrfConnectionsRunOut": {'mlrf_connections_cut_total{reason="idle_evicted"}': "0+1x120"},
    "MlrfDescriptorsRunOut": {
        'mlrf_process_open_fds{process="worker"}': "900x120",
        'mlrf_process_max_fds{process="worker"}': "1000x120",
    },
    "MlrfMemoryGrows": {"mlrf_process_resident_memory_bytes": "100x60 200x20"},
    "MlrfPredictionLogLoses": {"mlrf_prediction_log_dropped_total": "0+1x120"},
    "MlrfAccessLogLoses": {"mlrf_access_log_dropped_total": "0+1x120"},
}
WELL = {
    'up{job="mlrf"}': "1x120",
    "mlrf_workers_ready": "2x120",
    "mlrf_workers": "2x120",
    'mlrf_refusals_total{code="INTERNAL"}': QUIET,
    'mlrf_refusals_total{code="OVERLOADED"}': QUIET,
    'mlrf_requests_total{status="200"}': "0+100x120",
    'mlrf_requests_total{status="422"}': "0+1x120",
    'mlrf_request_duration_seconds_bucket{route="/predict",le="0.025"}': "0+100x120",
    'mlrf_request_duration_seconds_bucket{route="/predict",le="+Inf"}': "0+100x120",
    "mlrf_worker_starts_total": "2+1x120",
    "mlrf_worker_failures_total": QUIET,
    'mlrf_connections_cut_total{reason="idle_evicted"}': QUIET,
    'mlrf_connections_cut_total{reason="slow_reader"}': "0+1x120",
    'mlrf_reloads_total{outcome="refused"}': QUIET,
    'mlrf_bundle_info{model="m",version="a"}': "1x120",
    "mlrf_feature_store_errors_total": QUIET,
    "mlrf_feature_age_seconds_total": "0+36000x120",
    "mlrf_feature_lookups_total": "0+10x120",
    "mlrf_feature_misses_total": QUIET,
    "mlrf_shared_cache_failures_total": "0+1x120",
    'mlrf_process_open_fds{process="worker"}': "90x120",
    'mlrf_process_max_fds{process="worker"}': "1000x120",
    "mlrf_process_resident_memory_bytes": "100x80",
    "mlrf_prediction_log_dropped_total": QUIET,
    "mlrf_access_log_dropped_total": QUIET,
}


def promtool(*arguments):
    return subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False, timeout=300)


def run_cases(folder, cases, *, by_day=False):
    """Run promtool with each instance's samples and the alerts expected for them."""
    interval, ends = ("30m", "2400m") if by_day else ("1m", "120m")
    series = [
        {"series": of_instance(name, instance), "values": values}
        for instance, (samples, _) in cases.items()
        for name, values in samples.items()
    ]
    queries = [
        {
            "expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})',
            "eval_time": ends,
            "exp_samples": [{"labels": "{}", "value": 1}] if fires else [],
        }
        for _, alerts in cases.values()
        for alert, fires in alerts.items()
    ]
    document = {
        "rule_files": [str(RULES)],
        "evaluation_interval": interval,
        "tests": [{"interval": interval, "input_series": series, "promql_expr_test": queries}],
    }
    file = folder / "cases.yml"
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    return promtool("test", "rules", str(file))


def of_instance(series, instance):
    name, _, labels = series.partition("{")
    own = "" if "instance=" in labels else f'instance="{instance}"'
    return f"{name}{{{','.join(each for each in (labels.rstrip('}'), own) if each)}}}"


def test_the_rules_are_rules():
    done = promtool("check", "rules", str(RULES))
    assert (done.returncode, f"{len(NAMES)} rules found" in done.stdout) == (0, True), done.stderr


def as_rules(folder, queries):
    """Write queries as recording rules, which promtool can read, with Grafana's variables filled in."""
    filled = [each.replace("$__rate_interval", "5m").replace("$instance", ".*") for each in queries]
    assert not any("$" in each for each in filled)
    rules = [{"record": f"panel:query:{number}", "expr": each} for number, each in enumerate(filled)]
    file = folder / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}), encoding="utf-8")
    return promtool("check", "rules", str(file))


def test_every_query_of_the_dashboard_is_promql(tmp_path):
    queries = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
    assert len(queries) > 30
    done = as_rules(tmp_path, queries)
    assert done.returncode == 0, done.stderr
    assert as_rules(tmp_path, [*queries, "sum by (rate(mlrf_requests_total[5m])"]).returncode != 0


@pytest.mark.parametrize("by_day", [False, True])
def test_every_alert_fires_for_what_it_is_there_for(tmp_path, by_day):
    assert FIRING.keys() == set(NAMES)
    cases = {alert: (samples, {alert: True}) for alert, samples in FIRING.items() if (alert in OF_A_DAY) is by_day}
    done = run_cases(tmp_path, cases, by_day=by_day)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("by_day", [False, True])
def test_no_alert_fires_in_normal_operation(tmp_path, by_day):
    done = run_cases(tmp_path, {"well": (WELL, dict.fromkeys(NAMES, False))}, by_day=by_day)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_alert_that_does_not_fire_would_be_found(tmp_path):
    assert run_cases(tmp_path, {"well": (WELL, {"MlrfDown": True})}).returncode != 0

"""Counts are exposed to Prometheus as totals over the workers."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import time
from array import array

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mlrf.core import errors
from mlrf.core.errors import MlrfError
from mlrf.serving.error_encoder import ErrorEncoder
from mlrf.serving.error_status import TABLE, error_status_of, http_statuses
from mlrf.serving.routes import layout as layout_of
from mlrf.serving.runtime.control_block import ControlBlock
from mlrf.serving.telemetry.exposition import Exposition
from mlrf.serving.telemetry.logs import Log
from mlrf.serving.telemetry.metric_positions import Layout, clear_gauges
from mlrf.serving.telemetry.metrics import BUCKETS_S, FAMILIES, FAMILY, NO_MODEL
from mlrf.serving.telemetry.process_stats import FIGURES, read_figures
from mlrf.serving.telemetry.worker_meter import WorkerMeter
from raw_http import Answer
from running import metrics_of, resident_bytes

ROUTES = Layout((("other", NO_MODEL), ("/a", NO_MODEL), ("/b", NO_MODEL), ("/b", "m"), ("/b", "n")), ("m", "n"))
A, B_OF_M = 1, 3
OF_A, OF_B = (("model", "-"), ("route", "/a")), (("model", "m"), ("route", "/b"))


@pytest.fixture
def block():
    return ControlBlock(2, ROUTES.n_words)


def samples(block, bundles=({"model": 'say "hi"\\n', "version": "1\n2"},)):
    text = Exposition(ROUTES, block, bundles, "0").text().decode()
    families = list(text_string_to_metric_families(text))
    assert len({family.name for family in families}) == len(families), "one family a name"
    return {(s.name, *sorted(s.labels.items())): s.value for family in families for s in family.samples}


def test_the_tests_own_reader_reads_what_prometheus_does(block):
    WorkerMeter(ROUTES, block.row(0)).count_request(3, 200, 30e-6)
    text = Exposition(ROUTES, block, [{"model": "m", "version": "1"}], "0").text()
    expected = {}
    for (name, *labels), value in samples(block, [{"model": "m", "version": "1"}]).items():
        expected[name + "".join(f";{k}={v}" for k, v in labels)] = value
    found = metrics_of(Answer(200, {}, text))
    # What this process is like may change between the two.
    counted = [name for name in expected if "_process_" not in name and "_start_time_" not in name]
    assert {name: found[name] for name in counted} == {name: expected[name] for name in counted}
    assert found["mlrf_requests_total;route=/b;status=200"] == 1


def test_a_sample_is_named_by_all_of_its_labels_and_no_more():
    with pytest.raises(ValueError, match="mlrf_requests_waiting has more labels"):
        ROUTES.word("mlrf_requests_waiting")
    with pytest.raises(ValueError, match=r"mlrf_requests_waiting has no label for \['thread'\]"):
        ROUTES.word("mlrf_requests_waiting", "remote", "thread")


def test_counts_are_totals_over_the_workers(block):
    for slot in range(2):
        meter = WorkerMeter(ROUTES, block.row(slot))
        meter.count_request(1, 200, 30e-6)
        meter.count_request(1, 422, 2.0)
        meter.count_connections(1)
        meter.counter("mlrf_instances_total", "m")(5)
        meter.set_ready(ready=True)
    found = samples(block)
    assert found["mlrf_requests_total", *OF_A, ("status", "200")] == 2
    assert found["mlrf_requests_total", *OF_A, ("status", "422")] == 2
    assert found["mlrf_request_duration_seconds_count", *OF_A] == 4
    assert found["mlrf_request_duration_seconds_sum", *OF_A] == pytest.approx(4.00006)
    assert found["mlrf_request_duration_seconds_bucket", ("le", "2.5e-05"), *OF_A] == 0
    assert found["mlrf_request_duration_seconds_bucket", ("le", "5e-05"), *OF_A] == 2
    assert found["mlrf_request_duration_seconds_bucket", ("le", "1.0"), *OF_A] == 2
    assert found["mlrf_request_duration_seconds_bucket", ("le", "+Inf"), *OF_A] == 4
    for name, count in [
        ("connections_total", 2),
        ("open_connections", 2),
        ("worker_starts_total", 2),
        ("workers_ready", 2),
    ]:
        assert found[(f"mlrf_{name}",)] == count
    assert found["mlrf_bundle_info", ("model", 'say "hi"\\n'), ("version", "1\n2")] == 1


def test_replacement_continues_its_predecessors_counts(block):
    first = WorkerMeter(ROUTES, block.row(0))
    first.count_request(1, 200, 0.0)
    first.count_connections(1)
    first.counter("mlrf_instances_total", "m")(3)
    first.set_ready(ready=True)
    second = WorkerMeter(ROUTES, block.row(0))
    found = samples(block)
    assert (found["mlrf_open_connections",], found["mlrf_workers_ready",]) == (0, 0)
    assert (found["mlrf_connections_total",], found["mlrf_instances_total", ("model", "m")]) == (1, 3)
    second.count_request(1, 200, 0.0)
    assert samples(block)["mlrf_requests_total", *OF_A, ("status", "200")] == 2


def test_a_duration_on_a_bound_counts_below_it(block):
    meter = WorkerMeter(ROUTES, block.row(0))
    for bound in BUCKETS_S:
        meter.count_request(B_OF_M, 200, bound)
    found = samples(block)
    counts = [found["mlrf_request_duration_seconds_bucket", ("le", str(bound)), *OF_B] for bound in BUCKETS_S]
    assert counts == list(range(1, len(BUCKETS_S) + 1))


def test_no_two_counts_share_a_word():
    layout = layout_of(["m", "n"], grpc=True)
    block = ControlBlock(3, layout.n_words)
    meter = WorkerMeter(layout, block.row(1))
    for route in range(len(layout.routes)):
        for status in layout.statuses:
            meter.count_request(route, status, 0.0)
    row = list(block.row(1))
    n_requests = len(layout.routes) * len(layout.statuses)
    assert layout.first(FAMILIES[0]) == 0
    assert row[:n_requests] == [1] * n_requests
    assert all(not any(block.row(slot)) for slot in (0, 2)), "a slot writes in its own row"


def test_every_status_that_can_be_answered_can_be_counted():
    assert {200, error_status_of(ValueError()).http, *(each.http for each in TABLE.values())} == set(http_statuses())
    assert all(issubclass(error, MlrfError) for error in TABLE)


def test_every_family_can_be_counted_and_is_read_back(block):
    for slot in range(2):
        meter = WorkerMeter(ROUTES, block.row(slot))
        for family in FAMILIES:
            for values in ROUTES.samples(family):
                if family.kind == "counter":
                    meter.counter(family.name, *values)(1)
                elif family.kind == "gauge":
                    meter.gauge(family.name, *values)(1)
                else:
                    meter.histogram(family.name, *values)(family.buckets_s[0])
    found = samples(block)
    for family in FAMILIES:
        for values in ROUTES.samples(family):
            labels = sorted(zip([name for name, _ in family.labels], values, strict=True))
            if family.by_process:
                each = [found[(family.name, *sorted([("process", f"worker-{slot}"), *labels]))] for slot in range(2)]
                assert each == pytest.approx([family.unit] * 2)
                continue
            end = "_count" * (family.kind == "histogram")
            started = 2 * (family.name == "mlrf_worker_starts_total")
            assert found[(family.name + end, *sorted(labels))] == family.merge([1, 1]) * family.unit + started


def test_what_ends_with_a_worker_is_forgotten_and_the_rest_kept(block):
    row = block.row(0)
    row[:] = memoryview(array("Q", [7] * ROUTES.n_words))
    clear_gauges(ROUTES, row)
    for family in FAMILIES:
        first = ROUTES.first(family)
        words = row[first : first + len(ROUTES.samples(family)) * ROUTES.width(family)]
        assert set(words) == {7 if family.survives_restart else 0}
    assert row[ROUTES.pid] == 0


def test_the_figures_of_a_process_are_the_kernels():
    found = dict(zip([name for name, _ in FIGURES], read_figures(os.getpid()), strict=True))
    assert found["mlrf_process_resident_memory_bytes"] == pytest.approx(resident_bytes(os.getpid()), rel=0.1)
    assert found["mlrf_process_open_fds"] == pytest.approx(len(os.listdir("/proc/self/fd")), abs=2)
    assert found["mlrf_process_max_fds"] == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert found["mlrf_process_threads"] == len(os.listdir("/proc/self/task"))
    assert time.time() - 3600 < found["mlrf_process_start_time_seconds"] <= time.time()


def test_a_process_that_has_ended_has_no_figures():
    child = subprocess.Popen(["true"])
    child.wait()
    assert read_figures(child.pid) is None


def test_processor_time_continues_over_a_replacement(block):
    name = ("mlrf_process_cpu_seconds_total", ("process", "worker-0"))
    first = WorkerMeter(ROUTES, block.row(0))
    first.count_cpu()
    counted = samples(block)[name]
    assert counted == pytest.approx(time.process_time(), rel=0.5)
    WorkerMeter(ROUTES, block.row(0)).count_cpu()
    assert samples(block)[name] >= 2 * counted


def test_a_refusal_is_counted_by_its_code_and_model(block):
    meter = WorkerMeter(ROUTES, block.row(0))
    refuse = ErrorEncoder(Log("critical"), meter.count_refusal)
    for route in (A, B_OF_M):
        for error in (errors.MissingFeatureError(""), errors.OverloadedError(""), ValueError(), errors.EngineError("")):
            refuse(error, b"1", route)
    found = samples(block)
    counts = {
        (code, model): found.get(("mlrf_refusals_total", ("code", code), ("model", model)), 0)
        for code, model in ROUTES.samples(FAMILY["mlrf_refusals_total"])
    }
    assert {key: n for key, n in counts.items() if n} == {
        (code, model): n
        for code, n in {"MISSING_FEATURE": 1, "OVERLOADED": 1, "INTERNAL": 2}.items()
        for model in (NO_MODEL, "m")
    }
    assert {code for code, _ in counts} >= {kind.code for kind in TABLE}


def test_workers_gauges_are_merged_as_their_family_says(block):
    """A timestamp is the latest of the workers', not a sum, which would be in the far future."""
    merged = [family for family in FAMILIES if family.merge is not sum]
    assert [family.name for family in merged] == ["mlrf_inference_last_seconds"]
    for slot, last_ms in enumerate((1_700_000_000_000, 1_600_000_000_000)):
        WorkerMeter(ROUTES, block.row(slot)).gauge("mlrf_inference_last_seconds", "m")(last_ms)
    assert samples(block)["mlrf_inference_last_seconds", ("model", "m")] == 1_700_000_000


def test_one_turn_of_the_loop_computes_one_text(block, monkeypatch):
    exposition, computed = Exposition(ROUTES, block, [], "0"), []
    monkeypatch.setattr(exposition, "text", lambda: computed.append(1) or b"%d" % len(computed))

    async def flood():
        assert [exposition.answer(b"") for _ in range(200)] == [b"1"] * 200
        await asyncio.sleep(0)
        assert exposition.answer(b"") == b"2"

    asyncio.run(flood())

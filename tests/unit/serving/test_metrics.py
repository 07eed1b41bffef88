"""What is counted is what Prometheus reads, totals over the workers."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mlrf.core.errors import MlrfError
from mlrf.serving import refusals
from mlrf.serving.control import ControlBlock
from mlrf.serving.metrics import BUCKETS_S, STATUSES, Exposition, Layout, WorkerMeter
from mlrf.serving.routes import LABELS

ROUTES = Layout(("other", "/a", "/b"))


@pytest.fixture
def block():
    return ControlBlock(2, ROUTES.n_words)


def samples(block, bundles=({"model": 'say "hi"\\n', "version": "1\n2"},)):
    text = Exposition(ROUTES, block, bundles, "0").text().decode()
    families = list(text_string_to_metric_families(text))
    assert len({family.name for family in families}) == len(families), "one family a name"
    return {(s.name, *sorted(s.labels.items())): s.value for family in families for s in family.samples}


def test_counts_are_totals_over_the_workers(block):
    for slot in range(2):
        meter = WorkerMeter(ROUTES, block.row(slot))
        meter.count_request(1, 200, 30e-6)
        meter.count_request(1, 422, 2.0)
        meter.count_connections(1)
        meter.count_instances(5)
        meter.set_ready(ready=True)
    found = samples(block)
    assert found["mlrf_requests_total", ("route", "/a"), ("status", "200")] == 2
    assert found["mlrf_requests_total", ("route", "/a"), ("status", "422")] == 2
    assert found["mlrf_request_duration_seconds_count", ("route", "/a")] == 4
    assert found["mlrf_request_duration_seconds_sum", ("route", "/a")] == pytest.approx(4.00006)
    assert found["mlrf_request_duration_seconds_bucket", ("le", "2.5e-05"), ("route", "/a")] == 0
    assert found["mlrf_request_duration_seconds_bucket", ("le", "5e-05"), ("route", "/a")] == 2
    assert found["mlrf_request_duration_seconds_bucket", ("le", "1.0"), ("route", "/a")] == 2
    assert found["mlrf_request_duration_seconds_bucket", ("le", "+Inf"), ("route", "/a")] == 4
    for name, count in [
        ("instances_total", 10),
        ("open_connections", 2),
        ("worker_starts_total", 2),
        ("workers_ready", 2),
    ]:
        assert found[(f"mlrf_{name}",)] == count
    assert found["mlrf_bundle_info", ("model", 'say "hi"\\n'), ("version", "1\n2")] == 1


def test_a_replacement_goes_on_counting_where_its_predecessor_stopped(block):
    first = WorkerMeter(ROUTES, block.row(0))
    first.count_request(1, 200, 0.0)
    first.count_connections(1)
    first.count_instances(3)
    first.set_ready(ready=True)
    second = WorkerMeter(ROUTES, block.row(0))
    found = samples(block)
    assert (found["mlrf_open_connections",], found["mlrf_workers_ready",]) == (0, 0)
    assert (found["mlrf_connections_total",], found["mlrf_instances_total",]) == (1, 3)
    second.count_request(1, 200, 0.0)
    assert samples(block)["mlrf_requests_total", ("route", "/a"), ("status", "200")] == 2


def test_a_duration_on_a_bound_counts_below_it(block):
    meter = WorkerMeter(ROUTES, block.row(0))
    for bound in BUCKETS_S:
        meter.count_request(2, 200, bound)
    found = samples(block)
    counts = [found["mlrf_request_duration_seconds_bucket", ("le", str(bound)), ("route", "/b")] for bound in BUCKETS_S]
    assert counts == list(range(1, len(BUCKETS_S) + 1))


def test_no_two_counts_share_a_word():
    layout = Layout(LABELS)
    block = ControlBlock(3, layout.n_words)
    meter = WorkerMeter(layout, block.row(1))
    for route in range(len(LABELS)):
        for status in STATUSES:
            meter.count_request(route, status, 0.0)
    row = list(block.row(1))
    assert row[: layout.durations] == [1] * layout.durations
    assert all(not any(block.row(slot)) for slot in (0, 2)), "a slot writes in its own row"


def test_every_status_that_can_be_answered_can_be_counted():
    assert {200, refusals.INTERNAL, *refusals.STATUSES.values()} <= set(STATUSES)
    assert all(issubclass(fault, MlrfError) for fault in refusals.STATUSES)

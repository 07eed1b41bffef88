"""The live view: what it computes from /metrics, and what it says when they cannot be read."""

from __future__ import annotations

import pytest

from bundles import ALL_KINDS

pytestmark = [pytest.mark.browser, pytest.mark.slow]
TEXT = """# HELP m Some.
# TYPE m counter
m{route="/a",model="x"} 4
m{route="/a",model="y \\"q\\" \\\\ \\n{}"} 2
m{route="/b",model="x"} 1
n 7.5
h_bucket{route="/a",le="0.001"} 10
h_bucket{route="/a",le="0.01"} 90
h_bucket{route="/a",le="+Inf"} 100
"""


def live(visit):
    page = visit.open("trees")
    page.get_by_role("button", name="Live", exact=True).click()
    return page


@pytest.mark.smoke
def test_figures_are_the_metrics(visit, server):
    for _ in range(40):
        server.ask("POST", "/models/trees/predict", {"features": ALL_KINDS.example()})
    assert server.ask("POST", "/models/trees/predict", {"features": {}}).status == 422
    page = live(visit)
    page.wait_for_function(
        "() => /^[0-9.]+ requests a second now/.test(document.querySelector('#live-now').textContent)"
    )
    routes = page.eval_on_selector_all("#live-routes tr", "all => all.map(r => [...r.cells].map(c => c.textContent))")
    by_route = {cells[0]: cells[1:] for cells in routes}
    counted = server.ask("GET", "/metrics").body.decode()
    total = sum(
        int(line.rsplit(" ", 1)[1])
        for line in counted.splitlines()
        if line.startswith('mlrf_requests_total{route="/predict",')
    )
    assert 40 <= int(by_route["/predict"][4]) <= total
    assert float(by_route["/metrics"][0]) > 0
    assert by_route["/metrics"][1].endswith(" ms")
    refused = page.eval_on_selector_all(
        "#live-refusals tr", "all => all.map(r => [...r.cells].map(c => c.textContent))"
    )
    assert any(code == "MISSING_FEATURE" and int(since) >= 1 for code, _, since in refused), refused
    assert page.inner_text("#live-workers").startswith("1 of 1 ready")
    versions = page.eval_on_selector_all(
        "#live-versions tr", "all => all.map(r => [...r.cells].map(c => c.textContent))"
    )
    served = server.ask("GET", "/models").json["models"]
    assert versions == [[each["name"], each["version"]] for each in served]
    assert "worker-0" in page.inner_text("#live-memory")
    assert "nothing reloaded since" in page.inner_text("#live-reload")


def test_metrics_are_read_only_while_the_view_is_open(visit):
    page, requested = live(visit), []
    page.wait_for_selector("#live-rates svg")
    page.on("request", lambda request: requested.append(request.url) if request.url.endswith("/metrics") else None)
    page.wait_for_event("request", lambda request: request.url.endswith("/metrics"))
    page.get_by_role("button", name="One row", exact=True).click()
    visit.settle()
    requested.clear()
    page.wait_for_timeout(4500)
    assert requested == []


@pytest.mark.parametrize(("status", "words"), [(401, "The metrics need a key"), (503, "The metrics cannot be read")])
def test_metrics_that_cannot_be_read_are_said(visit, status, words):
    visit.expected.append(str(status))
    visit.page.route("**/metrics", lambda route: route.fulfill(status=status, json={"error": "no", "code": "X"}))
    page = live(visit)
    visit.until("#live-problem", words)
    page.unroute("**/metrics")
    page.wait_for_selector("#live-rates svg")
    page.wait_for_function("() => document.querySelector('#live-problem').textContent === ''")


def test_text_format_is_read(visit):
    page = visit.open("trees")
    found = page.evaluate(
        """async text => { const m = await import('/ui/metrics.js'), all = m.parseMetrics(text);
        const buckets = m.bucketsBy(all, 'h', 'route').get('/a');
        return {sums: [...m.sumBy(all, 'm', 'route')], names: all.get('m').map(s => s.labels.model), n: m.total(all, 'n'),
          quantiles: [0.05, 0.5, 0.9, 0.99].map(q => m.quantile(buckets, q)), none: m.quantile([[Infinity, 0]], 0.5),
          between: m.bucketsBetween(buckets, buckets).map(b => b[1])}; }""",
        TEXT,
    )
    assert found["sums"] == [["/a", 6], ["/b", 1]]
    assert found["names"] == ["x", 'y "q" \\ \n{}', "x"]
    assert found["n"] == 7.5
    assert found["quantiles"] == pytest.approx([0.0005, 0.001 + 0.009 * 40 / 80, 0.01, 0.01])
    assert found["none"] is None
    assert found["between"] == [0, 0, 0]

"""What the page computes itself, held against Python: bars, links, neighbours of numbers, and the nearest change by brute force."""

from __future__ import annotations

import math
import random

import pytest

from bundles import ALL_KINDS
from mlrf.core.link import Link
from mlrf.model.drawing import RowContributions, largest_bars

pytestmark = [pytest.mark.browser, pytest.mark.slow]
NEVER = 1e9


@pytest.fixture(scope="module")
def call(browser, server):
    """Call a function of one of the page's modules with JSON values."""
    page = browser.new_page()
    page.goto(f"http://127.0.0.1:{server.port}/ui")
    yield lambda module, code, given: page.evaluate(
        f"async given => {{ const m = await import('/ui/{module}'); return ({code})(m, given); }}", given
    )
    page.close()


def test_bars_are_those_of_the_drawing_in_python(call, models):
    explanation = models["wide"].explain([models["wide"].schema.example()])
    values = dict.fromkeys(explanation.feature_names, 0.5)
    contributions = explanation.values[0].tolist()
    row = RowContributions(explanation.base, contributions, 0.0, values)
    for top in (1, 10, 999, 2000):
        named = dict(zip(explanation.feature_names, contributions, strict=True))
        bars = call("waterfall.js", "(m, g) => m.largest(g[0], g[1])", [named, top])
        expected = largest_bars(row, top)
        assert [bar["contribution"] for bar in bars] == pytest.approx([e.contribution for e in expected], rel=1e-12)
        assert [b["names"][0] for b in bars if "isRest" not in b] == [e.name for e in expected if "other" not in e.name]


@pytest.mark.parametrize(
    ("kind", "scale"),
    [("sigmoid", 1.0), ("sigmoid", 0.3), ("exp", 1.0), ("signed_square", 1.0), ("log1p_exp", 1.0), ("clip", 1.0)],
)
def test_second_scale_is_the_link(call, kind, scale):
    margins = [-30.0, -2.5, 0.0, 0.1, 3.0, 20.0]
    found = call("numbers.js", "(m, g) => g[1].map(m.linkOf(g[0]))", [{"kind": kind, "scale": scale}, margins])
    assert found == pytest.approx([Link(kind, scale).scalar()(m) for m in margins], rel=1e-12)


def test_next_number_is_the_next_float64(call):
    numbers = [0.0, -0.0, 1.0, -1.0, 5e-324, -5e-324, 1e300, -1e300, 0.1, 2.0**53]
    found = call("numbers.js", "(m, g) => g.map(m.nextUp)", numbers)
    assert found == [math.nextafter(x, math.inf) for x in numbers]


@pytest.mark.parametrize("vary", [["depth"], ["count"], ["store"], ["price", "promo"], ["count", "depth"]])
def test_nearest_change_is_the_nearest_of_all(call, models, vary):
    """The value that the page names lies in the point that it names, and no other point that reaches the goal is nearer."""
    model, row = models["trees"], ALL_KINDS.example()
    curve = model.curve(row, vary)
    answer = {
        "axes": [{"kind": a.kind.value, "cuts": a.cuts, "values": a.values, "at": a.at} for a in curve.axes],
        "predictions": curve.predictions,
    }
    xs = [row[name] for name in vary]
    code = (
        "(m, [answer, xs, target]) => { const best = m.nearestPoint(answer, xs, p => p >= target);"
        "return best && {...best, values: best.points.map((p, i) => m.nearestValue(answer.axes[i], p, xs[i]))}; }"
    )
    for target in random.Random(1).sample(sorted(set(curve.predictions)), min(8, len(set(curve.predictions)))):
        found = call("nearest.js", code, [answer, xs, target])
        changed = {**row, **dict(zip(vary, found["values"], strict=True))}
        assert model.predict([changed])[0] == found["prediction"] >= target
        assert found["cost"] == pytest.approx(min(costs(curve, xs, target)), abs=1e-12)
    assert call("nearest.js", code, [answer, xs, NEVER]) is None


def costs(curve, xs, target):
    """The cost of every point that reaches the target, from how the page says that distance is counted."""
    width = len(curve.axes[-1].values)
    for index, prediction in enumerate(curve.predictions):
        if prediction >= target:
            points = [index] if len(curve.axes) == 1 else divmod(index, width)
            yield sum(cost(axis, p, x) for axis, p, x in zip(curve.axes, points, xs, strict=True))


def cost(axis, point, x):
    if point == axis.at:
        return 0.0
    if axis.cuts is None or axis.values[point] is None:
        return 1.0
    low = -math.inf if point == 0 else axis.cuts[point - 1]
    high = math.inf if point == len(axis.cuts) else axis.cuts[point]
    step = 1.0 if axis.kind != "numeric" else 0.0
    return max(low + step - x, x - high, 0.0) / (axis.cuts[-1] - axis.cuts[0])


@pytest.mark.parametrize(
    ("vary", "low", "high"), [("depth", 0.1, 2.3), ("depth", -0.5, 0.2), ("count", -2.5, 4.5), ("price", 9.6, 9.7)]
)
def test_nearest_change_keeps_to_bounds(call, models, vary, low, high):
    """Each value that is found lies within the bounds, and no other value there that reaches the goal is nearer."""
    model, row = models["trees"], ALL_KINDS.example()
    curve = model.curve(row, vary)
    (axis,) = curve.axes
    answer = {
        "axes": [{"kind": axis.kind.value, "cuts": axis.cuts, "values": axis.values, "at": axis.at}],
        "predictions": curve.predictions,
    }
    code = "(m, [answer, x, target, low, high]) => m.nearestPoint(answer, [x], p => p >= target, [{low, high, missing: false}])"
    step = 1 if axis.kind == "integer" else 0.0
    allowed = [
        (max(start + step, low), min(end, high), prediction)
        for start, end, prediction in zip(
            [-math.inf, *axis.cuts], [*axis.cuts, math.inf], curve.predictions, strict=False
        )
        if (math.ceil(max(start + step, low)) <= min(end, high) if step else max(start, low) < min(end, high))
    ]
    x = row[vary]
    for target in sorted({prediction for _, _, prediction in allowed}):
        found = call("nearest.js", code, [answer, x, target, low, high])
        (value,) = found["values"]
        reaching = [each for each in allowed if each[2] >= target]
        if found["cost"]:
            assert low <= value <= high
            assert model.predict([row | {vary: value}])[0] >= target
            ends = [(math.ceil(a), math.floor(b)) if step else (a, b) for a, b, _ in reaching]
            assert abs(value - x) == pytest.approx(min(max(a - x, x - b, 0) for a, b in ends))
        else:
            assert value == x
    assert call("nearest.js", code, [answer, x, max(curve.predictions) + 1, low, high]) is None

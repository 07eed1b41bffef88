"""The view of two models at once: numbers of both, their differences, curves over each other, and which is nearer."""

from __future__ import annotations

import json

import pytest

from bundles import ALL_KINDS
from page_visits import CLASSES

pytestmark = [pytest.mark.browser, pytest.mark.slow]
MODELS = ("trees", "next")


def opened(visit):
    page = visit.open("trees")
    page.get_by_role("button", name="Compare", exact=True).click()
    visit.until("#side-1-name", "next")
    page.wait_for_selector("#compare-curves figure")
    visit.settle()
    return page


def answers(server, row):
    return [server.ask("POST", f"/models/{name}/explain", {"features": row}).json for name in MODELS]


@pytest.mark.smoke
def test_both_answers_are_the_servers(visit, server):
    page = opened(visit)
    assert page.eval_on_selector_all("#other option", "all => all.map(o => o.value)") == ["next", "graph"], (
        "the same schema"
    )
    found = answers(server, ALL_KINDS.example())
    for i, (name, answer) in enumerate(zip(MODELS, found, strict=True)):
        assert page.inner_text(f"#side-{i}-name") == f"{name}, version {answer['version']}"
        assert json.loads(page.get_attribute(f"#side-{i}-prediction", "title")) == answer["prediction"]
        assert page.locator(f"#side-{i}-why rect.bar").count() == len(ALL_KINDS.names)
    cells = page.eval_on_selector_all("#differences tr", "all => all.map(r => [...r.cells].map(c => c.textContent))")
    shown = {each[0]: [float(cell) for cell in each[2:]] for each in cells}
    first, second = (each["explanation"]["contributions"] for each in found)
    for name in ALL_KINDS.names:
        assert shown[name] == [first[name], second[name], second[name] - first[name]]
    sizes = [abs(shown[each[0]][2]) for each in cells[1:-1]]
    assert sizes == sorted(sizes, reverse=True)


def test_change_of_a_value_is_answered_by_both(visit, server):
    page = opened(visit)
    page.get_by_label("depth", exact=True).fill("1.75")
    visit.settle()
    for i, answer in enumerate(answers(server, ALL_KINDS.example() | {"depth": 1.75})):
        assert json.loads(page.get_attribute(f"#side-{i}-prediction", "title")) == answer["prediction"]


def test_curves_of_both_are_drawn_over_each_other(visit):
    page = opened(visit)
    assert page.locator("#compare-curves figure").count() == len(ALL_KINDS.names)
    for name in ("price", "depth", "count"):
        assert page.locator(f"#compare-curves figure[data-feature={name}] path.curve").count() == 2


def test_nearer_model_is_named(visit, server):
    page = opened(visit)
    first, second = (each["prediction"] for each in answers(server, ALL_KINDS.example()))
    page.fill("#actual", str(first))
    visit.until("#nearer", "trees is nearer for this row: it is off by 0")
    page.fill("#actual", str(second))
    visit.until("#nearer", "next is nearer")
    page.fill("#actual", "much")
    visit.until("#nearer", "is not a number")


def test_classes_are_compared_one_by_one(visit, server):
    page = visit.open("classes")
    page.get_by_role("button", name="Compare", exact=True).click()
    visit.until("#side-1-name", "classes-next")
    page.wait_for_selector("#compare-curves figure")
    page.select_option("#compare-class", "13")
    visit.settle()
    row = {f"x{i}": 0.5 for i in range(4)}
    found = [
        server.ask("POST", f"/models/{name}/explain", {"features": row}).json for name in ("classes", "classes-next")
    ]
    first, second = (each["explanation"]["contributions"][CLASSES[13]] for each in found)
    cells = page.eval_on_selector_all("#differences tr", "all => all.map(r => [...r.cells].map(c => c.textContent))")
    shown = {each[0]: [float(cell) for cell in each[2:]] for each in cells}
    assert {name: shown[name][:2] for name in row} == {name: [first[name], second[name]] for name in row}
    page.select_option("#actual-class", "13")
    chances = [each["probabilities"][13] for each in found]
    nearer = "classes-next" if chances[1] > chances[0] else "classes"
    visit.until("#nearer", f"{nearer} is nearer")


@pytest.mark.parametrize("status", [422, 503])
def test_refusal_of_the_other_model_is_shown(visit, status):
    visit.expected.append(str(status))
    page = visit.open("trees")
    refusal = {"error": "in the server's words", "code": "X", "details": {}}
    page.route("**/models/next/explain", lambda route: route.fulfill(status=status, json=refusal))
    page.get_by_role("button", name="Compare", exact=True).click()
    visit.until("#problem", "in the server's words")


def test_models_of_other_features_are_not_offered(visit):
    page = visit.open("wide")
    page.get_by_role("button", name="Compare", exact=True).click()
    visit.until("#compare-none", "No other served model has the same features")
    assert page.locator("#compared").is_hidden()


@pytest.mark.parametrize(
    ("first", "second", "points"),
    [
        (([1.0, 3.0], [1, 2, 3]), ([2.0], [10, 20]), [-5.0, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5]),
        (([], [4]), ([0.5], [5, 6]), [0.0, 0.5, 1.0]),
    ],
)
def test_merged_steps_are_the_steps_of_each(visit, first, second, points):
    page = visit.open("trees")
    curve = "([cuts, ys]) => ({axes: [{cuts, values: ys.map((_, i) => cuts[i] ?? 9), at: 0, kind: 'numeric'}], predictions: ys})"
    code = f"""async ([first, second, points]) => {{
      const {{overlaid, firstAtLeast}} = await import('/ui/steps.js'), make = {curve};
      const pair = [make(first), make(second)], {{axis, ysOf}} = overlaid(...pair);
      return points.map(x => pair.map(each => ysOf(each, each.predictions)[firstAtLeast(axis.cuts, x)]));
    }}"""
    expected = [[ys[sum(cut < x for cut in cuts)] for cuts, ys in (first, second)] for x in points]
    assert page.evaluate(code, [first, second, points]) == expected

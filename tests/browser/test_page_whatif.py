"""What-if on the page in a real browser: curves, maps, and changes that reach a goal."""

from __future__ import annotations

import json
import re

import pytest

from bundles import ALL_KINDS
from page_visits import enter, explained, table

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.mark.smoke
def test_change_of_a_value_is_compared_with_the_row_before(visit, server):
    page = visit.open("trees")
    before = explained(server, ALL_KINDS.example())
    enter(visit, "depth", "1.75")
    now = explained(server, ALL_KINDS.example() | {"depth": 1.75})
    shown = table(page)
    assert float(shown["this row (margin)"][1]) == now["explanation"]["margin"]
    for name, phi in now["explanation"]["contributions"].items():
        then = before["explanation"]["contributions"][name]
        assert [float(cell) for cell in shown[name][1:]] == [phi, then, phi - then]
    assert page.locator("#waterfall rect.ghost").count() > 0
    page.click("#go-back")
    visit.settle()
    assert page.input_value("role=textbox[name='depth']") == "0.25"
    assert page.get_attribute("#prediction", "title") == json.dumps(before["prediction"])


def test_differences_stand_in_the_waterfall(visit, server):
    page = visit.open("trees")
    before = explained(server, ALL_KINDS.example())["explanation"]
    enter(visit, "depth", "1.75")
    now = explained(server, ALL_KINDS.example() | {"depth": 1.75})["explanation"]
    change = now["contributions"]["depth"] - before["contributions"]["depth"]
    text = page.text_content("#waterfall")
    assert f"({'+' if change >= 0 else '−'}{float(f'{abs(change):.6g}'):g})"[:6] in text
    assert page.locator("#waterfall text", has_text="(").count() > 1


def test_charts_of_a_classifier_say_where_its_class_changes(visit, server, models):
    page = visit.open("binary")
    page.wait_for_selector("#curves figure")
    visit.settle()
    label = explained(server, ALL_KINDS.example(), "binary")["label"]
    assert page.inner_text("#curves-what") == "the probability of yes"
    for name in ("depth", "price"):
        curve = server.ask("POST", "/models/binary/curve", {"features": ALL_KINDS.example(), "vary": name}).json
        text = page.inner_text(f"#curves figure[data-feature={name}] figcaption")
        changes = any(each != label for each in curve["labels"])
        assert ("becomes" in text) == changes
        assert changes or f"stays {label}" in text


def test_curves_are_the_servers_and_sorted(visit, server):
    page = visit.open("trees")
    page.wait_for_selector("#curves figure")
    visit.settle()
    spans = page.eval_on_selector_all("#curves figure", "all => all.map(f => [f.dataset.feature, +f.dataset.span])")
    assert {name for name, _ in spans} == set(ALL_KINDS.names)
    assert [span for _, span in spans] == sorted((span for _, span in spans), reverse=True)
    for name, span in spans:
        body = {"features": ALL_KINDS.example(), "vary": name}
        predictions = server.ask("POST", "/models/trees/curve", body).json["predictions"]
        assert span == max(predictions) - min(predictions)


def test_nearest_change_reaches_the_target_and_is_nearest(visit, server, models):
    page = visit.open("trees")
    page.wait_for_selector("#curves figure")
    visit.settle()
    curves = {name: models["trees"].curve(ALL_KINDS.example(), name).predictions for name in ALL_KINDS.names}
    now = explained(server, ALL_KINDS.example())["prediction"]
    target = (now + max(max(each) for each in curves.values())) / 2
    reaching = {name for name, each in curves.items() if max(each) >= target}
    page.select_option("#goal", "at least")
    page.fill("#target", str(target))
    page.click("#changeable > summary")
    page.check("#may-be-missing")
    page.click("#nearest button:text-is('Find')")
    page.wait_for_selector("#found li")
    items = page.locator("#found li")
    assert items.count() == min(5, len(reaching))
    items.first.get_by_role("button").click()
    visit.settle()
    assert json.loads(page.get_attribute("#prediction", "title")) >= target


def search(visit, how: str, *features: str) -> int:
    """Search for a change of these features, or of all, and return how many were found."""
    page = visit.page
    page.select_option("#how-many", how)
    if features:
        if page.locator("#changeable").get_attribute("open") is None:
            page.click("#changeable > summary")
        page.click("#change-none")
        for name in features:
            page.get_by_role("checkbox", name=name, exact=True).check()
    page.click("#nearest button:text-is('Find')")
    page.locator("#found").filter(has_not_text="Searching").filter(has_text=re.compile(r"\w")).wait_for()
    return page.locator("#found li").count()


def test_label_is_flipped_by_two_features(visit, server):
    page = visit.open("binary")
    label = explained(server, ALL_KINDS.example(), "binary")["label"]
    other = "yes" if label == "no" else "no"
    assert page.input_value("#goal") == str(["no", "yes"].index(other)), "another class is what one asks for"
    grid = server.ask(
        "POST", "/models/binary/curve", {"features": ALL_KINDS.example(), "vary": ["depth", "price"]}
    ).json
    missing = grid["axes"][1]["values"].index(None), len(grid["axes"][1]["values"])
    reached = [i for i, found in enumerate(grid["labels"]) if found == other and i % missing[1] != missing[0]]
    assert (search(visit, "2", "depth", "price") > 0) == bool(reached)
    page.click("#change-all")
    assert search(visit, "2") > 0
    page.locator("#found li button").first.click()
    visit.until("#prediction", other)


def test_change_of_one_feature_is_listed_once_among_pairs(visit):
    page = visit.open("trees")
    page.select_option("#goal", "at least")
    page.fill("#target", str(json.loads(page.get_attribute("#prediction", "title")) * 1.001))
    n_found = search(visit, "2")
    texts = page.locator("#found li").all_inner_texts()
    assert ", " not in texts[0], "one feature is enough"
    assert n_found == len(set(texts)) == 5


def test_change_keeps_to_declared_features_and_bounds(visit, server, models):
    page = visit.open("trees")
    curve = models["trees"].curve(ALL_KINDS.example(), "depth")
    now = curve.predictions[curve.axes[0].at]
    target = (now + max(curve.predictions)) / 2
    page.select_option("#goal", "at least")
    page.fill("#target", str(target))
    assert search(visit, "1", "depth") == 1
    text = page.inner_text("#found li")
    assert text.startswith("depth:")
    reaching = [
        (low, high)
        for low, high, found in zip([-9, *curve.axes[0].cuts], [*curve.axes[0].cuts, 9], curve.predictions, strict=True)
        if found >= target
    ]
    low, high = max(reaching)
    page.get_by_label("depth, not below").fill(str((low + high) / 2))
    assert search(visit, "1") == 1
    assert str((low + high) / 2) in page.inner_text("#found li"), "the bound is within the interval that reaches"
    page.get_by_label("depth, not below").fill("8")
    page.get_by_label("depth, not above").fill("much")
    search(visit, "1")
    assert "is not a number" in page.inner_text("#found")
    page.get_by_label("depth, not above").fill("7")
    assert search(visit, "1") == 0
    assert "No value of any one of 1 feature" in page.inner_text("#found")


def test_several_features_are_searched_and_called_a_search(visit):
    page = visit.open("trees")
    page.select_option("#goal", "at most")
    page.fill("#target", str(json.loads(page.get_attribute("#prediction", "title")) / 20))
    assert search(visit, "3") == 1
    assert "a smaller change may exist" in page.inner_text("#found")
    page.click("#found li button")
    visit.settle()
    assert json.loads(page.get_attribute("#prediction", "title")) <= float(page.input_value("#target"))


def test_two_features_are_drawn_together(visit):
    page = visit.open("trees")
    page.select_option("#heat-x", "store")
    page.select_option("#heat-y", "promo")
    page.click("#heat-form button")
    page.wait_for_selector("#heat canvas")
    size = page.eval_on_selector("#heat canvas", "c => [c.width, c.height]")
    assert size == [4, 3]


def test_grid_that_is_superseded_is_given_up(visit):
    page = visit.open("trees")
    page.evaluate(
        """() => { const send = window.fetch; window.signals = [];
        window.fetch = (path, options) => { if (path.endsWith("/curve")) signals.push(options.signal); return send(path, options); }; }"""
    )
    unanswered = []

    def wait(route):
        unanswered.append(route)

    page.route("**/curve", wait)
    page.select_option("#heat-x", "store")
    page.select_option("#heat-y", "promo")
    page.click("#heat-form button")
    page.wait_for_function("() => signals.length === 1")
    page.unroute("**/curve")
    page.select_option("#heat-x", "count")
    page.click("#heat-form button")
    page.wait_for_selector("#heat canvas")
    visit.settle()
    assert page.evaluate("() => signals.map(s => s.aborted)") == [True, False]
    assert "count" in page.inner_text("#heat")
    assert page.locator("#problem").is_hidden()


def test_cells_of_a_map_are_read_by_arrow_keys(visit, server):
    page = visit.open("trees")
    page.select_option("#heat-x", "store")
    page.select_option("#heat-y", "promo")
    page.click("#heat-form button")
    canvas = page.locator("#heat canvas")
    canvas.focus()
    for _ in range(4):
        canvas.press("ArrowLeft")
        canvas.press("ArrowDown")
    body = {"features": ALL_KINDS.example() | {"promo": False, "store": "north"}}
    answer = server.ask("POST", "/models/trees/predict", body).json["prediction"]
    line = page.inner_text("#heat [role=status]")
    assert line.startswith("store north, promo false: ")
    assert float(line.rsplit(" ", 1)[1]) == pytest.approx(answer, rel=1e-5)

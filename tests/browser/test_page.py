"""The page at /ui in a real browser: its numbers are the server's, and nothing in a bundle makes it do anything else."""

from __future__ import annotations

import json
import re

import pytest

from bundles import ALL_KINDS
from page_visits import CLASSES, HOSTILE, MARKUP

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def table(page) -> dict[str, list[str]]:
    """The table of every feature: the cells by feature."""
    if page.locator("#numbers").get_attribute("open") is None:
        page.click("#numbers > summary")
    page.wait_for_selector("#numbers tbody tr")
    rows = page.eval_on_selector_all("#numbers tbody tr", "all => all.map(r => [...r.cells].map(c => c.textContent))")
    return {cells[0]: cells[1:] for cells in rows}


def enter(visit, label: str, text: str) -> None:
    visit.page.get_by_label(label, exact=True).fill(text)
    visit.settle()


def explained(server, row, model="trees"):
    return server.ask("POST", f"/models/{model}/explain", {"features": row}).json


@pytest.mark.smoke
def test_numbers_on_the_page_are_the_servers(visit, server):
    page = visit.open()
    answer = explained(server, ALL_KINDS.example())
    assert page.get_attribute("#prediction", "title") == json.dumps(answer["prediction"])
    shown = table(page)
    contributions = answer["explanation"]["contributions"]
    assert {name: float(shown[name][1]) for name in contributions} == contributions
    assert float(shown["average (base)"][1]) == answer["explanation"]["base"]
    assert float(shown["this row (margin)"][1]) == answer["explanation"]["margin"]
    assert shown["store"][0] == "süd"
    assert page.locator("#waterfall rect.bar").count() == len(contributions)
    assert page.locator("#waterfall .second-scale").count() > 0, "an exponential link has a second scale"
    assert "exp" in page.locator("#waterfall").inner_text()
    assert answer["version"] in page.inner_text("#version")


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


def test_every_kind_of_field_reaches_the_server(visit, server):
    page = visit.open("trees")
    enter(visit, "price", "2.5")
    page.get_by_role("switch", name="promo", exact=True).uncheck()
    page.get_by_label("count is missing").check()
    page.get_by_label("store", exact=True).fill("east")
    page.get_by_label("store", exact=True).press("Tab")
    visit.settle()
    row = ALL_KINDS.example() | {"price": 2.5, "promo": False, "count": None, "store": "east"}
    assert page.get_attribute("#prediction", "title") == json.dumps(explained(server, row)["prediction"])


def test_slider_moves_the_answer_by_keyboard(visit, server):
    page = visit.open("trees")
    visit.settle()
    slider = page.get_by_label("depth, slider")
    slider.press("ArrowRight")
    visit.settle()
    depth = float(page.get_by_label("depth", exact=True).input_value())
    assert depth != 0.25
    row = ALL_KINDS.example() | {"depth": depth}
    assert page.get_attribute("#prediction", "title") == json.dumps(explained(server, row)["prediction"])


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(ALL_KINDS.example() | {"price": -4}),
        json.dumps({"features": ALL_KINDS.example() | {"price": -4}}),
        "price,count,promo,store,size,code,depth\n-4,3,true,süd,20,7,0.25",
        '-4,3,1,"süd",20,7,0.25',
    ],
)
def test_pasted_row_is_filled_in(visit, server, text):
    page = visit.open("trees")
    page.click("text=Paste a row")
    page.fill("#paste", text)
    page.click("text=Fill in the row")
    visit.settle()
    expected = explained(server, ALL_KINDS.example() | {"price": -4})
    assert page.get_attribute("#prediction", "title") == json.dumps(expected["prediction"])


def test_pasted_nonsense_is_refused_in_words(visit):
    page = visit.open("trees")
    page.click("text=Paste a row")
    for text, reason in [("{", "not JSON"), ("1,2", "2 cells do not fit 7"), ('{"a": 1}', '"a" is not a feature')]:
        page.fill("#paste", text)
        page.click("text=Fill in the row")
        visit.until("#problem", reason)
        assert page.get_by_role("button", name="Try again").count() == 0, "asking again would not help"


def test_stored_row_is_looked_up(visit, server):
    page = visit.open("trees")
    page.click("text=Look up a stored row")
    page.get_by_label("id (integer)").fill("7")
    page.click("text=Look up >> nth=-1")
    visit.settle()
    assert page.get_by_label("price", exact=True).input_value() == "1.25"
    assert page.get_by_label("store is missing").is_checked()
    visit.expected.append("404")
    page.get_by_label("id (integer)").fill("8")
    page.click("text=Look up >> nth=-1")
    visit.until("#problem", "no row is stored")


def test_key_of_many_digits_is_sent_whole(visit):
    page = visit.open("trees")
    sent = []
    page.on("request", lambda request: sent.append(request.post_data) if request.url.endswith("/predict") else None)
    page.click("text=Look up a stored row")
    visit.expected.append("404")
    page.get_by_label("id (integer)").fill("9223372036854775807")
    page.click("text=Look up >> nth=-1")
    visit.until("#problem", "no row is stored")
    assert '"key":{"id":9223372036854775807}' in sent[0]


def test_table_is_copied_with_all_digits(visit, server):
    page = visit.open("trees")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    shown = table(page)
    page.click("#copy-table")
    visit.until("#table-copied", "Copied")
    lines = [line.split("\t") for line in page.evaluate("() => navigator.clipboard.readText()").split("\n")]
    assert lines[0] == ["Feature", "Value", "Contribution", "Before", "Difference"]
    assert {line[0]: line[1:] for line in lines[1:]} == shown
    assert float(shown["price"][1]) == explained(server, ALL_KINDS.example())["explanation"]["contributions"]["price"]


def test_differences_stand_in_the_waterfall(visit, server):
    page = visit.open("trees")
    before = explained(server, ALL_KINDS.example())["explanation"]
    enter(visit, "depth", "1.75")
    now = explained(server, ALL_KINDS.example() | {"depth": 1.75})["explanation"]
    change = now["contributions"]["depth"] - before["contributions"]["depth"]
    text = page.text_content("#waterfall")
    assert f"({'+' if change >= 0 else '−'}{float(f'{abs(change):.6g}'):g})"[:6] in text
    assert page.locator("#waterfall text", has_text="(").count() > 1


def test_recent_rows_are_opened_again_and_nowhere_else(visit, server):
    page = visit.open("trees")
    page.wait_for_selector("#recent:not([hidden])", state="attached")
    page.get_by_label("depth", exact=True).fill("1.75")
    page.wait_for_function("() => document.querySelectorAll('#recent-rows li').length === 2")
    page.click("#recent > summary")
    assert "depth 1.75" in page.locator("#recent-rows button").first.inner_text()
    page.locator("#recent-rows button").nth(1).click()
    visit.settle()
    assert page.get_by_label("depth", exact=True).input_value() == "0.25"
    assert page.evaluate("() => JSON.stringify([{...localStorage}, {...sessionStorage}])") == "[{},{}]"
    page.reload()
    page.wait_for_selector("#prediction:not(:empty)")
    assert page.locator("#recent-rows li").count() == 0


@pytest.mark.parametrize("locale", ["de-DE", "en-US"])
def test_numbers_are_written_as_the_reader_does(browser, server, locale):
    context = browser.new_context(locale=locale)
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{server.port}/ui")
    page.wait_for_selector("#prediction:not(:empty)")
    point = "," if locale == "de-DE" else "."
    assert page.get_by_label("price", exact=True).input_value() == f"9{point}5"
    shown = table(page)
    contributions = explained(server, ALL_KINDS.example())["explanation"]["contributions"]
    assert {name: float(shown[name][1].replace(point, ".")) for name in contributions} == contributions
    for text in (f"2{point}25", "2.25"):
        page.get_by_label("depth", exact=True).fill("0")
        page.get_by_label("depth", exact=True).fill(text)
        page.wait_for_selector("html[data-busy=false]")
        expected = explained(server, ALL_KINDS.example() | {"depth": 2.25})["prediction"]
        assert json.loads(page.get_attribute("#prediction", "title")) == expected
    context.close()


def test_charts_of_a_classifier_say_where_its_class_changes(visit, server, models):
    page = visit.open("binary")
    page.wait_for_selector("#curves figure")
    visit.settle()
    label = explained(server, ALL_KINDS.example(), "binary")["label"]
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
    assert search(visit, "2") > 0
    page.locator("#found li button").first.click()
    visit.until("#prediction", other)


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


def test_twenty_classes_have_each_their_explanation(visit, server):
    page = visit.open("classes")
    row = {f"x{i}": 0.5 for i in range(4)}
    answer = explained(server, row, "classes")
    assert page.locator("#class option").count() == 20
    assert page.locator("#probabilities tr").count() == 20
    assert page.inner_text("#prediction").startswith(answer["label"])
    page.select_option("#class", "13")
    shown = table(page)
    assert {name: float(shown[name][1]) for name in row} == answer["explanation"]["contributions"][CLASSES[13]]


@pytest.mark.smoke
def test_names_with_markup_are_text(visit, server):
    page = visit.open("hostile")
    assert page.title() == "Ask a model"
    assert page.locator("img").count() == 0
    answer = explained(server, HOSTILE.example(), "hostile")
    shown = table(page)
    assert {name: float(shown[name][1]) for name in HOSTILE.names} == answer["explanation"]["contributions"]
    assert shown[MARKUP][0] == "a,b"
    field = page.get_by_label(MARKUP, exact=True)
    field.fill("</script><b>x</b>")
    field.press("Tab")
    visit.settle()
    assert "</script><b>x</b>" in page.text_content("#waterfall")
    assert page.locator("b").count() == 0


def test_thousand_features_can_be_found(visit, server):
    page = visit.open("wide")
    assert page.locator(".field").count() == 1000
    page.fill("#find", "feature 77")
    assert page.locator(".field:visible").count() == 11
    assert page.locator("#waterfall rect.bar").count() == 11, "ten, and the sum of all others"
    visit.settle()
    assert page.locator("#curves figure").count() == 24
    page.click("#more-curves")
    page.locator("#curves figure").nth(47).wait_for()


def test_five_thousand_categories_are_picked_by_name(visit, server):
    page = visit.open("large")
    field = page.get_by_label("place", exact=True)
    field.fill("place 4321")
    field.press("Tab")
    visit.settle()
    answer = explained(server, {"place": "place 4321", "n": 0.0}, "large")
    assert page.get_attribute("#prediction", "title") == json.dumps(answer["prediction"])
    field.fill("place 5001")
    field.press("Tab")
    assert "is not one of its 5000 categories" in page.inner_text(".wrong:visible")


def test_model_without_explanations_still_predicts(visit, server):
    visit.expected.append("422")
    page = visit.open("graph")
    visit.until("#curves", "no thresholds")
    answer = server.ask("POST", "/models/graph/predict", {"features": ALL_KINDS.example()}).json
    assert page.get_attribute("#prediction", "title") == json.dumps(answer["prediction"])
    assert "only its predictions" in page.inner_text("#why")


def test_link_opens_the_row_and_holds_no_more(visit, server):
    row = ALL_KINDS.example() | {"price": -3.5}
    from urllib.parse import quote  # noqa: PLC0415

    page = visit.open(fragment="#" + quote(json.dumps({"model": "binary", "features": row})))
    visit.settle()
    assert page.input_value("#model") == "binary"
    assert page.get_by_label("price", exact=True).input_value() == "-3.5"
    page.get_by_label("depth", exact=True).fill("0.5")
    visit.settle()
    assert "0.5" not in page.url, "only the link that is copied holds values"

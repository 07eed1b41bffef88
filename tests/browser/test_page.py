"""The page at /ui in a real browser: its numbers are the server's, and nothing in a bundle makes it do anything else."""

from __future__ import annotations

import json

import pytest

from bundles import ALL_KINDS
from page_visits import CLASSES, HOSTILE, MARKUP, enter, explained, table

pytestmark = [pytest.mark.browser, pytest.mark.slow]


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

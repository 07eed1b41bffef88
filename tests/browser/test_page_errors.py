"""The page when something is wrong: keys, a server that is gone, busy or refuses; and for people with a keyboard or a screen reader."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from bundles import ALL_KINDS, write_tree_bundle
from page_visits import HOSTILE
from running import serving

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A server that wants a key, and a key of it."""
    from mlrf.cli import main  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("guarded")
    path = write_tree_bundle(folder / "b", name="b")
    keys = folder / "keys.txt"
    key = added(main, keys)
    with serving(path, options=["--keys", str(keys)]) as server:
        yield server, key


def added(main, keys) -> str:
    import contextlib  # noqa: PLC0415
    import io  # noqa: PLC0415

    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        assert main(["keys", str(keys), "--add", "page", "--scope", "predict", "--scope", "explain"]) == 0
    return output.getvalue().strip().splitlines()[-1].split()[-1]


@pytest.mark.smoke
def test_key_is_asked_for_and_stays_out_of_the_address(visit, guarded):
    server, key = guarded
    visit.expected.append("401")
    visit.origin = f"http://127.0.0.1:{server.port}"
    page = visit.page
    page.goto(f"{visit.origin}/ui")
    visit.until("#problem", "Enter a key above")
    page.fill("#key", "wrong")
    page.press("#key", "Enter")
    visit.settle()
    visit.until("#problem", "key")
    page.fill("#key", key)
    page.press("#key", "Enter")
    page.wait_for_selector("#prediction:not(:empty)")
    visit.settle()
    assert page.locator("#problem").is_hidden()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.click("#copy-link")
    page.wait_for_selector("#copied:not(:empty)")
    link = page.evaluate("() => navigator.clipboard.readText()")
    assert "features" in link
    assert key not in link
    assert key not in page.url
    stored = page.evaluate("() => JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])")
    assert stored == '[{},{},""]'


@pytest.mark.smoke
def test_server_that_is_gone_is_said_and_tried_again(visit, tmp_path):
    path = write_tree_bundle(tmp_path / "b", name="b")
    visit.expected += ["ERR_CONNECTION_REFUSED", "ERR_EMPTY_RESPONSE", "ERR_CONNECTION_RESET", "ERR_SOCKET"]
    with serving(path) as server:
        visit.origin = f"http://127.0.0.1:{server.port}"
        page = visit.open("b")
    page.get_by_label("depth", exact=True).fill("0.75")
    visit.until("#problem", "The server does not answer")
    assert page.get_by_role("button", name="Try again").is_visible()
    with serving(path, options=["--port", str(server.port)]):
        page.get_by_role("button", name="Try again").click()
        page.wait_for_selector("#problem", state="hidden")


@pytest.mark.smoke
@pytest.mark.parametrize("status", [503, 422])
def test_refusals_are_said_in_the_servers_words(visit, status):
    visit.expected.append(str(status))
    page = visit.open("trees")
    code = {503: "OVERLOADED", 422: "INVALID_FEATURE"}[status]
    refusal = {"error": "in the server's words", "code": code, "details": {"feature": "depth"} if status == 422 else {}}
    page.route("**/explain", lambda route: route.fulfill(status=status, json=refusal))
    page.get_by_label("depth", exact=True).fill("0.75")
    visit.until("#problem", "in the server's words")
    if status == 422:
        assert page.get_by_label("depth", exact=True).get_attribute("aria-invalid") == "true"
    page.unroute("**/explain")
    page.get_by_label("depth", exact=True).fill("0.5")
    page.wait_for_selector("#problem", state="hidden")


def test_value_that_a_field_does_not_take_is_refused_there(visit):
    page = visit.open("trees")
    before = page.get_attribute("#prediction", "title")
    page.get_by_label("count", exact=True).fill("1.5")
    visit.until(".wrong", "it must be a whole number")
    page.get_by_label("price", exact=True).fill("much")
    visit.until(".wrong", '"much" is not a number')
    visit.settle()
    assert page.get_attribute("#prediction", "title") == before


def test_keyboard_alone_reaches_everything(visit):
    page = visit.open("trees")
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.textContent") == "Skip to the answer"
    expected = {"model", "key", "find", "copy-link", "top", "save-svg", "save-png", "begin-here", "goal", "target", "heat-x", "heat-y"}  # fmt: skip
    reached, names = tabbed(page)
    assert expected <= reached, expected - reached
    assert all(style != "none" for _, style, tag in names if tag in ("BUTTON", "INPUT", "SELECT"))


def tabbed(page) -> tuple[set[str], list]:
    """The ids that Tab leads to, and for each element its id, outline and tag."""
    reached, names = set(), []
    for _ in range(150):
        page.keyboard.press("Tab")
        found = page.evaluate(
            "() => [document.activeElement.id, getComputedStyle(document.activeElement).outlineStyle, document.activeElement.tagName]"
        )
        reached.add(found[0])
        names.append(found)
        if found[2] == "BODY":
            break
    return reached, names


VIEWS = {
    "Compare": {"other", "actual"},
    "Many rows": {"many-file", "many-feature", "many-order", "many-next"},
    "Live": set(),
}


def show(visit, view: str) -> None:
    """Open a view with everything that it shows."""
    page = visit.page
    page.get_by_role("button", name=view, exact=True).press("Enter")
    if view == "Compare":
        page.wait_for_selector("#compare-curves figure")
    if view == "Many rows":
        rng = np.random.default_rng(1)
        rows = [ALL_KINDS.example() | {"depth": float(rng.normal()), "price": float(rng.normal())} for _ in range(120)]
        content = {"name": "rows.json", "mimeType": "text/plain", "buffer": json.dumps(rows).encode()}
        page.set_input_files("#many-file", content)
        page.wait_for_selector("#many-results:not([hidden])")
    if view == "Live":
        page.wait_for_selector("#live-routes tr")
    visit.settle()


@pytest.mark.parametrize("view", VIEWS)
def test_keyboard_alone_reaches_every_view(visit, view):
    page = visit.open("trees")
    show(visit, view)
    reached, names = tabbed(page)
    assert VIEWS[view] <= reached, VIEWS[view] - reached
    assert page.evaluate("() => document.querySelector('#views [aria-current]').textContent") == view
    assert all(style != "none" for _, style, tag in names if tag in ("BUTTON", "INPUT", "SELECT"))


@pytest.mark.smoke
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", VIEWS)
def test_no_violation_of_accessibility_in_a_view(visit, scheme, view):
    visit.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page = visit.open("trees")
    show(visit, view)
    assert violations(page) == []


@pytest.mark.parametrize("width", [360, 1400])
@pytest.mark.parametrize("view", VIEWS)
def test_no_view_is_wider_than_the_window(visit, width, view):
    visit.page.set_viewport_size({"width": width, "height": 800})
    page = visit.open("trees")
    show(visit, view)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width


def test_print_has_answers_and_no_controls(visit):
    page = visit.open("trees")
    visit.settle()
    page.emulate_media(media="print")
    assert page.locator("#waterfall svg").is_visible()
    assert page.locator("#curves figure").first.is_visible()
    for selector in ("#ask", "#views", "#key-form", "#heat-form", "#save-svg"):
        assert page.locator(selector).is_hidden()


def violations(page) -> list:
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="no axe: pip install axe-playwright-python"
    )
    page.context.new_cdp_session(page).send("Page.setBypassCSP", {"enabled": True})
    result = axe.Axe().run(page)
    assert len(result.response["passes"]) > 15, "axe looked at the page"
    return [(v["id"], [n["html"] for n in v["nodes"]][:3]) for v in result.response["violations"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("model", ["trees", "classes"])
def test_no_violation_of_accessibility(visit, scheme, model):
    visit.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page = visit.open(model)
    page.click("#numbers > summary")
    page.click("#changeable > summary")
    page.click("#heat-form button")
    page.wait_for_selector("#heat canvas")
    visit.settle()
    assert violations(page) == []


@pytest.mark.parametrize("width", [360, 768, 1400])
def test_nothing_is_wider_than_the_window(visit, width):
    visit.page.set_viewport_size({"width": width, "height": 800})
    page = visit.open("trees")
    page.click("#numbers > summary")
    page.click("#heat-form button")
    page.wait_for_selector("#heat canvas")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width


def test_drawing_is_saved_as_svg_and_png(visit):
    page = visit.open("trees")
    visit.settle()
    with page.expect_download() as download:
        page.click("#save-svg")
    text = download.value.path().read_text()
    assert re.match(r"<svg [^>]*xmlns=\"http://www.w3.org/2000/svg\"", text)
    assert "this row" in text
    with page.expect_download() as download:
        page.click("#save-png")
    assert download.value.path().read_bytes().startswith(b"\x89PNG")


def test_example_of_the_page_is_the_schemas(server):
    described = {each["name"]: each for each in server.ask("GET", "/models").json["models"]}
    assert json.loads(json.dumps(ALL_KINDS.example())) == described["trees"]["example"]
    assert described["trees"]["link"] == {"kind": "exp", "scale": 1.0}


def test_file_of_explain_html_opens_without_a_complaint(browser, paths, tmp_path):
    from mlrf.cli import main  # noqa: PLC0415

    (tmp_path / "rows.json").write_text(json.dumps([HOSTILE.example()]))
    page_file = tmp_path / "out.html"
    assert main(["explain", str(paths["hostile"]), str(tmp_path / "rows.json"), "--html", str(page_file)]) == 0
    page, messages = browser.new_page(), []
    page.on("console", lambda m: messages.append(m.text))
    page.goto(page_file.as_uri())
    assert page.locator("svg rect").count() > 0
    assert page.locator("img, b, script").count() == 0
    assert page.evaluate("() => getComputedStyle(document.querySelector('table')).borderCollapse") == "collapse"
    page.close()
    assert messages == []

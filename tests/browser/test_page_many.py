"""The view of many rows: a file's rows in batches, numbers and drawings of all of them, and rows that are refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bundles import ALL_KINDS, write_tree_bundle
from page_visits import CLASSES, HOSTILE, MARKUP
from running import serving

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def rows_of(n: int) -> list[dict]:
    rng = np.random.default_rng(1)
    return [
        ALL_KINDS.example()
        | {
            "price": float(rng.normal(0, 3)),
            "depth": float(rng.uniform(-1, 8)),
            "store": [None, "north", "süd", "east"][i % 4],
        }
        for i in range(n)
    ]


def csv_of(rows: list[dict]) -> str:
    text = {None: "", True: "true", False: "false"}
    cells = [[str(text.get(v, v) if v is None or isinstance(v, bool) else v) for v in row.values()] for row in rows]
    return "\n".join([",".join(rows[0]), *(",".join(line) for line in cells)])


def give(visit, content: str, name: str = "rows.json", model: str = "trees"):
    """Choose a file in the view of many rows."""
    page = visit.open(model)
    page.get_by_role("button", name="Many rows", exact=True).click()
    page.set_input_files("#many-file", {"name": name, "mimeType": "text/plain", "buffer": content.encode()})
    page.locator("#many-running").wait_for(state="hidden")
    visit.settle()
    return page


def table(page) -> dict[int, str]:
    cells = page.eval_on_selector_all(
        "#many-rows tr", "all => all.map(r => [r.cells[0].textContent, r.cells[1].textContent])"
    )
    return {int(number): prediction for number, prediction in cells}


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(json.dumps, marks=pytest.mark.smoke),
        lambda rows: json.dumps({"instances": [{"features": row} for row in rows]}),
        lambda rows: json.dumps({"columns": list(rows[0]), "data": [list(row.values()) for row in rows]}),
        lambda rows: "\n".join(map(json.dumps, rows)),
        csv_of,
    ],
    ids=["json", "instances", "columns", "lines", "csv"],
)
def test_numbers_of_many_rows_are_the_models(visit, models, write):
    rows = rows_of(230)
    page = give(visit, write(rows))
    assert "230 rows answered" in page.inner_text("#many-said")
    expected = models["trees"].predict(rows)
    shown = table(page)
    assert list(shown) == list(range(1, 51))
    assert [float(text) for text in shown.values()] == expected[:50].tolist()
    page.select_option("#many-order", "largest")
    assert [float(text) for text in table(page).values()] == sorted(expected.tolist(), reverse=True)[:50]
    page.click("#many-next")
    assert float(next(iter(table(page).values()))) == sorted(expected.tolist(), reverse=True)[50]
    counts = page.eval_on_selector_all("#many-histogram rect.bin title", "all => all.map(t => parseInt(t.textContent))")
    assert counts == np.histogram(expected, 30)[0].tolist()
    means = np.abs(models["trees"].explain(rows).values).mean(axis=0)
    sizes = page.eval_on_selector_all(
        "#many-importance tr", "all => all.map(r => [r.cells[0].textContent, +r.dataset.mean])"
    )
    assert dict(sizes) == pytest.approx(dict(zip(ALL_KINDS.names, means, strict=True)), rel=1e-9)
    assert [size for _, size in sizes] == sorted((size for _, size in sizes), reverse=True)


def test_dots_are_the_rows_and_open_them(visit, models):
    rows = rows_of(40)
    page = give(visit, json.dumps(rows))
    points = page.eval_on_selector_all(
        "#many-beeswarm path.dots", "all => all.map(p => p.getAttribute('d').split('M').length - 1)"
    )
    assert sum(points) == 40 * len(ALL_KINDS.names)
    page.select_option("#many-feature", "depth")
    page.locator("#many-scatter").scroll_into_view_if_needed()
    at = page.eval_on_selector(
        "#many-scatter path.dots", "p => p.getAttribute('d').slice(1).split('h0')[0].split(' ').map(Number)"
    )
    box = page.locator("#many-scatter svg").bounding_box()
    page.mouse.click(box["x"] + at[0], box["y"] + at[1])
    page.locator("#answer").wait_for()
    visit.settle()
    opened = float(page.get_by_label("depth", exact=True).input_value())
    assert opened in [row["depth"] for row in rows]
    row = next(row for row in rows if row["depth"] == opened)
    assert json.loads(page.get_attribute("#prediction", "title")) == models["trees"].predict([row])[0]


def test_row_is_opened_by_keyboard(visit, models):
    rows = rows_of(3)
    page = give(visit, json.dumps(rows))
    page.get_by_role("button", name="Open row 2", exact=True).press("Enter")
    page.locator("#answer").wait_for()
    visit.settle()
    assert json.loads(page.get_attribute("#prediction", "title")) == models["trees"].predict([rows[1]])[0]


def test_refused_rows_are_listed_and_the_others_answered(visit, models):
    rows = rows_of(9)
    rows[2]["store"] = "moon"
    rows[5]["price"] = "much"
    visit.expected.append("422")
    page = give(visit, json.dumps([row | {"id": i} for i, row in enumerate(rows)]))
    notes = page.inner_text("#many-said")
    assert "7 rows answered" in notes
    assert "left out: id" in notes
    assert "Row 3: feature 'store'" in notes
    assert "Row 6: feature 'price'" in notes
    expected = models["trees"].predict([row for i, row in enumerate(rows) if i not in (2, 5)])
    assert [float(text) for text in table(page).values()] == expected.tolist()


def test_cell_that_is_no_value_is_refused_with_its_row(visit):
    rows = rows_of(3)
    page = give(visit, csv_of(rows).replace(str(rows[1]["depth"]), "deep"), "rows.csv")
    assert "2 rows answered" in page.inner_text("#many-said")
    assert 'Row 2: depth: "deep" is not a number' in page.inner_text("#many-said")


@pytest.mark.parametrize(
    ("content", "reason"),
    [("", "the file is empty"), ("a,b\n1,2", "no column of the file is a feature"), ("[1", "this is not JSON")],
)
def test_file_that_holds_no_rows_is_refused(visit, content, reason):
    page = visit.open("trees")
    page.get_by_role("button", name="Many rows", exact=True).click()
    page.set_input_files("#many-file", {"name": "x", "mimeType": "text/plain", "buffer": content.encode() or b" "})
    visit.until("#problem", reason)


def test_file_is_dropped_on_the_page(visit):
    page = visit.open("trees")
    page.get_by_role("button", name="Many rows", exact=True).click()
    page.evaluate(
        """text => { const given = new DataTransfer(); given.items.add(new File([text], "dropped.json"));
        document.querySelector("#many-drop").dispatchEvent(new DragEvent("drop", {dataTransfer: given, bubbles: true, cancelable: true})); }""",
        json.dumps(rows_of(4)),
    )
    visit.until("#many-said", "dropped.json: 4 rows answered")


def test_batches_keep_to_the_servers_limit(visit, tmp_path):
    path = write_tree_bundle(tmp_path / "b", name="b")
    visit.expected.append("413")
    with serving(path, options=["--max-batch", "7"]) as server:
        visit.origin = f"http://127.0.0.1:{server.port}"
        page = give(visit, json.dumps(rows_of(30)), model="b")
        assert "30 rows answered" in page.inner_text("#many-said")


def test_busy_server_is_asked_again_and_work_is_cancelled(visit):
    visit.expected.append("503")
    page = visit.open("trees")
    busy = {"error": "busy", "code": "OVERLOADED", "details": {}}
    page.route("**/predict/batch", lambda route: route.fulfill(status=503, json=busy))
    page.get_by_role("button", name="Many rows", exact=True).click()
    rows = {"name": "rows.json", "mimeType": "text/plain", "buffer": json.dumps(rows_of(300)).encode()}
    page.set_input_files("#many-file", rows)
    page.get_by_role("button", name="Cancel", exact=True).click()
    visit.until("#many-said", "Cancelled")
    visit.settle()
    assert page.locator("#problem").is_hidden()
    assert page.locator("#many-results").is_hidden()
    page.set_input_files("#many-file", rows | {"name": "again.json"})
    page.wait_for_timeout(100)
    page.unroute("**/predict/batch")
    visit.until("#many-said", "again.json: 300 rows answered")


def test_names_with_markup_and_models_without_explanations(visit, models):
    rows = [{f"x{i}": i / 4 + n / 10 for i in range(4)} for n in range(5)]
    page = give(visit, json.dumps(rows), model="classes")
    assert page.locator("#many-class option").count() == len(CLASSES)
    page.select_option("#many-class", "13")
    means = np.abs(models["classes"].explain(rows).values[:, :, 13]).mean(axis=0)
    sizes = page.eval_on_selector_all("#many-importance tr", "all => all.map(r => +r.dataset.mean)")
    assert sizes == pytest.approx(sorted(means.tolist(), reverse=True), rel=1e-9)
    page = give(visit, json.dumps([HOSTILE.example()] * 2), model="hostile")
    assert MARKUP in page.text_content("#many-beeswarm")
    assert page.locator("img, b").count() == 0
    visit.expected.append("422")
    page = give(visit, json.dumps(rows_of(2)), model="graph")
    assert "2 rows answered" in page.inner_text("#many-said")
    assert page.locator("#many-why").is_hidden()


def test_many_features_and_categories_are_drawn(visit, models):
    rows = [{f"feature {i}": (i * 7 + n) % 13 / 6 for i in range(1000)} for n in range(30)]
    page = give(visit, json.dumps(rows), model="wide")
    assert [float(text) for text in table(page).values()] == models["wide"].predict(rows).tolist()
    assert page.locator("#many-importance tr").count() == 30
    rows = [{"place": f"place {37 * n}", "n": n / 10} for n in range(130)]
    page = give(visit, json.dumps(rows), model="large")
    assert [float(text) for text in table(page).values()] == models["large"].predict(rows)[:50].tolist()
    page.select_option("#many-feature", "place")
    assert page.locator("#many-scatter path.dots").count() == 1

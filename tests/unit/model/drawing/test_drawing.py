"""Drawings of explanations: right numbers, well-formed, nothing from outside that a browser would run."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import numpy as np
import pytest

import mlrf
from bundles import write_tree_bundle
from mlrf.core.errors import InvalidRequestError
from mlrf.core.feature import Feature, Kind
from mlrf.core.schema import Schema
from mlrf.model.drawing import RowContributions, largest_bars, waterfall_svg

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<script>alert(1)</script>\"' onload=x & \x00\x1b\u202e\ud800"


def tags(svg, tag):
    """The elements of a tag; an error when the drawing is not well-formed XML."""
    return list(ET.fromstring(svg).iter(SVG + tag))  # noqa: S314  our own drawing


def texts(svg):
    return [each.text for each in tags(svg, "text")]


class Parsed(HTMLParser):
    """The tags, attributes and text of a document."""

    def __init__(self, document):
        super().__init__()
        self.tags, self.attributes, self.text = set(), set(), ""
        self.feed(document)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.text += data


def test_largest_contributions_are_first_and_the_others_one_sum():
    row = RowContributions(1.0, [0.5, -2.0, 0.25, 0.125], -0.125, {"a": 1.0, "b": "x", "c": None, "d": True})
    bars = [(bar.name, bar.value, bar.contribution) for bar in largest_bars(row, 2)]
    assert bars == [("b", '"x"', -2.0), ("a", "1", 0.5), ("2 other features", "", 0.375)]
    assert [bar.name for bar in largest_bars(row, 9)] == ["b", "a", "c", "d"]


def test_bars_lead_from_the_base_to_the_margin():
    row = RowContributions(1.0, [0.5, -2.0, 0.25], -0.25, {"a": 1.0, "b": "x", "c": None}, 0.4, "sigmoid")
    svg = waterfall_svg(row, 2)
    assert texts(svg) == [
        *("base", "1", 'b = "x"', "-2", "a = 1", "+0.5", "1 other feature", "+0.25", "margin", "-0.25"),
        *("prediction, through sigmoid", "0.4"),
    ]
    bars = tags(svg, "rect")
    assert [bar.get("class") for bar in bars] == ["lowers", "raises", "raises"]
    spans = [(float(bar.get("x")), float(bar.get("x")) + float(bar.get("width"))) for bar in bars]
    # -2 goes left from the base, 0.5 right from where that ended, 0.25 on from there: widths as the numbers.
    assert spans[1][0] == spans[0][0]
    assert spans[2][0] == spans[1][1]
    widths = [right - left for left, right in spans]
    assert widths[0] == pytest.approx(4 * widths[1], abs=0.05)
    assert widths[1] == pytest.approx(2 * widths[2], abs=0.05)


@pytest.mark.parametrize("phis", [[0.0, 0.0], [1e308, -1e308], [1e-320, 0.0]])
def test_extreme_numbers_stay_inside_the_drawing(phis):
    svg = waterfall_svg(RowContributions(0.0, phis, sum(phis), {"a": 1e308, "b": -1e308}))
    for bar in tags(svg, "rect"):
        assert 300 <= float(bar.get("x")) <= 671
        assert 1 <= float(bar.get("width")) <= 371


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    schema = Schema(
        (
            Feature(HOSTILE.replace("\ud800", "")),
            Feature("kind", Kind.CATEGORICAL, ("</text><img src=x>", "plain"), example="plain"),
            Feature("on", Kind.BOOLEAN),
        )
    )
    path = tmp_path_factory.mktemp("hostile") / "b"
    return mlrf.load(write_tree_bundle(path, schema=schema, n_outputs=3, classes=["<b>", "x", "y"], task="multiclass"))


def test_names_and_categories_are_escaped(hostile):
    explained = hostile.explain(np.array([[0.5, 0.0, 1.0], [2.0, 1.0, 0.0]]))
    for document in (explained._repr_html_(), explained[0]._repr_html_(), hostile._repr_html_(), explained.to_svg(1)):
        parsed = Parsed(document)
        assert not parsed.tags & {"script", "img", "style", "link", "iframe", "foreignobject"}
        assert not {name for name in parsed.attributes if name.startswith("on") or name in ("style", "href", "src")}
        assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e]", document)
    assert "<script>alert(1)" in Parsed(explained.to_svg(1)).text
    assert "kind = &quot;&lt;/text&gt;&lt;img" in explained[0].to_svg(0)


def test_lone_surrogate_is_not_text():
    svg = waterfall_svg(RowContributions(0.0, [1.0], 1.0, {HOSTILE: 1.0}))
    svg.encode()
    assert len(tags(svg, "rect")) == 1


def test_the_largest_margin_is_shown_unless_another_is_chosen(class_model, table):
    explained = class_model.explain(table)
    for row in range(5):
        best = int(np.argmax(class_model.margin(table)[row]))
        assert f"class {class_model.classes[best]}" in explained.to_svg(row)
    for output in range(3):
        shown = texts(explained.to_svg(3, output=output))
        assert shown[shown.index("margin") + 1] == f"{class_model.margin(table)[3, output]:.6g}"
        assert shown[1] == f"{explained.base[output]:.6g}"


@pytest.mark.parametrize(("row", "output"), [(40, None), (-41, None), (0, 3), (0, -1)])
def test_rows_and_outputs_that_are_not_there_are_refused(class_model, table, row, output):
    with pytest.raises(InvalidRequestError, match=r"numbered from 0"):
        class_model.explain(table).to_svg(row, output=output)


def test_page_of_one_row_is_a_waterfall_of_several_a_table(model, table):
    explained = model.explain(table)
    assert Parsed(explained._repr_html_()).tags >= {"svg", "table"}
    assert "table" not in Parsed(explained[3]._repr_html_()).tags
    assert Parsed(explained[:0]._repr_html_()).tags >= {"table"}
    heaviest = max(zip(np.abs(explained.values).mean(axis=0), explained.feature_names, strict=True))[1]
    assert repr(explained).endswith(f"largest on average: {', '.join(n for n, _ in explained._ranked()[:3])}>")
    assert explained._ranked()[0][0] == heaviest


def test_matplotlib_draws_the_same_bars(model, table):
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    explained = model.explain(table)
    axes = explained.plot(3, top=4)
    axes.figure.canvas.draw()
    bars = largest_bars(explained.row_contributions(3), 4)
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], [bar.contribution for bar in bars])
    assert axes.get_yticklabels()[0].get_text().startswith(bars[0].name)
    own = plt.figure().add_subplot()
    assert explained.plot(0, ax=own) is own
    plt.close("all")


def test_without_matplotlib_the_sentence_says_what_to_install(class_bundle):
    script = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "import mlrf, numpy as np\n"
        "from mlrf.core.errors import ConfigError\n"
        f"explained = mlrf.load({str(class_bundle)!r}).explain(np.zeros((1, 7)))\n"
        "try: explained.plot()\n"
        "except ConfigError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=True)
    assert "pip install matplotlib" in done.stdout

"""Drawings of response curves: their steps are the curve's, and nothing in a name is markup."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

import mlrf
from bundles import ALL_KINDS, write_tree_bundle
from mlrf.core.errors import BatchTooLargeError, InvalidRequestError
from mlrf.core.feature import Feature, Kind
from mlrf.core.schema import Schema
from mlrf.model.drawing import step_chart

MARKUP = "</text><script>alert(1)</script>"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return mlrf.load(write_tree_bundle(tmp_path_factory.mktemp("drawn") / "b"))


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    schema = Schema((Feature(MARKUP, Kind.CATEGORICAL, ("<b>", "a"), example="a"), Feature("n", example=0.5)))
    path = tmp_path_factory.mktemp("drawn") / "b"
    return mlrf.load(write_tree_bundle(path, schema=schema, n_outputs=3, task="multiclass", classes=["x", "y", "z"]))


def elements(svg: str, tag: str) -> list:
    return ET.fromstring(svg).findall(f".//{{http://www.w3.org/2000/svg}}{tag}")  # noqa: S314  our own text


def drawn_steps(svg: str) -> list:
    return [line for line in elements(svg, "line") if line.get("class") == "step"]


@pytest.mark.parametrize("name", ["price", "depth", "count", "promo", "store", "code"])
def test_a_step_is_drawn_for_each_point(model, name):
    curve = model.curve(ALL_KINDS.example(), name)
    svg = curve.to_svg()
    drawn = drawn_steps(svg)
    assert len(drawn) == len(curve.predictions)
    heights = [float(line.get("y1")) for line in drawn]
    for i, one in enumerate(curve.predictions):
        for j, other in enumerate(curve.predictions):
            if one > other:
                assert heights[i] <= heights[j], "a greater answer is drawn higher"
    ends = [(float(line.get("x1")), float(line.get("x2"))) for line in drawn]
    assert all(start <= end for start, end in ends)
    assert [start for start, _ in ends] == sorted(start for start, _ in ends)
    (own,) = elements(svg, "circle")
    assert float(own.get("cy")) == heights[curve.axes[0].at]
    assert svg in curve._repr_html_()


def test_a_map_has_the_cells_of_the_grid(model):
    curve = model.curve(ALL_KINDS.example(), ["promo", "store"])
    cells = elements(curve.to_svg(), "rect")
    titles = [cell.find("{http://www.w3.org/2000/svg}title").text for cell in cells]
    width = curve.shape[1]
    expected = []
    for row in range(curve.shape[0]):
        line = [f"{each:.6g}" for each in curve.predictions[row * width : (row + 1) * width]]
        expected += [text for i, text in enumerate(line) if i == 0 or text != line[i - 1]]
    assert titles == expected


def test_output_is_the_rows_greatest_unless_chosen(classes):
    curve = classes.curve({MARKUP: "a", "n": 0.5}, "n")
    own = curve.predictions[curve.axes[0].at]
    assert curve.to_svg() == curve.to_svg(output=own.index(max(own)))
    assert curve.to_svg(output=0) != curve.to_svg(output=1)
    with pytest.raises(InvalidRequestError, match="numbered from 0"):
        curve.to_svg(output=3)


def test_names_and_categories_are_escaped(classes):
    for vary in (MARKUP, [MARKUP, "n"]):
        document = classes.curve({MARKUP: "a", "n": 0.5}, vary)._repr_html_()
        assert not re.search("<(script|b|style)[ >]", document)
        assert "&lt;/text&gt;" in document


def test_a_map_of_too_many_cells_is_not_drawn(model, monkeypatch):
    monkeypatch.setattr("mlrf.model.drawing.curves.MOST_CELLS", 5)
    curve = model.curve(ALL_KINDS.example(), ["promo", "store"])
    with pytest.raises(BatchTooLargeError, match=r"12 cells .* use plot"):
        curve.to_svg()
    assert "svg" not in curve._repr_html_()


def test_matplotlib_draws_the_same_steps(model):
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    for name in ("depth", "store", "price"):
        curve = model.curve(ALL_KINDS.example(), name)
        axes = curve.plot()
        axes.figure.canvas.draw()
        flat = [c.get_segments()[0] for c in axes.collections if c.get_segments()[0][0][1] == c.get_segments()[0][1][1]]
        assert [segment[0][1] for segment in flat][: len(curve.predictions)] == curve.predictions
    image = model.curve(ALL_KINDS.example(), ["promo", "store"]).plot().images[0].get_array()
    assert image.ravel().tolist() == model.curve(ALL_KINDS.example(), ["promo", "store"]).predictions
    own = plt.figure().add_subplot()
    assert model.curve(ALL_KINDS.example(), "depth").plot(ax=own) is own
    plt.close("all")


def test_a_cut_as_wide_as_float64_is_drawn():
    drawn = step_chart.steps_svg(
        step_chart.Steps("x", [-1.7e308, 1.7e308], [-1.7e308, 1.7e308, 1.75e308, None], 1), [1.0, 2.0, 3.0, 0.0], "t"
    )
    assert "nan" not in drawn
    assert "inf" not in drawn

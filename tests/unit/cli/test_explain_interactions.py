"""`mlrf explain --interactions` as a shell sees it."""

from __future__ import annotations

import json

import numpy as np
import pytest

import mlrf
from bundles import ALL_KINDS, write_tree_bundle
from mlrf.cli import main
from mlrf.core.manifest import LinkEntry

CLASSES = ["a", 2, "c"]
ROWS = [ALL_KINDS.example(), ALL_KINDS.example() | {"price": -2.0, "promo": False, "code": 1}]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    shape = {"n_outputs": 3, "task": "multiclass", "link": LinkEntry("softmax"), "classes": CLASSES}
    one = write_tree_bundle(folder / "one", name="one")
    return {"one": one, "classes": write_tree_bundle(folder / "classes", name="classes", **shape)}


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(ROWS))
    return path


@pytest.mark.parametrize("name", ["one", "classes"])
def test_the_largest_interactions_follow_the_waterfall(name, bundles, rows, capsys):
    assert main(["explain", str(bundles[name]), str(rows), "--row", "1", "--interactions", "3"]) == 0
    shown = capsys.readouterr().out.splitlines()
    lines = shown[shown.index("interactions, each part of both features' contributions:") + 1 :]
    model = mlrf.load(bundles[name])
    pairs = model.explain([ROWS[1]], interactions=True).interactions[0].reshape(7, 7, -1)
    largest = int(np.argmax(np.atleast_1d(model.margin([ROWS[1]])[0])))
    values = sorted((2 * pairs[a, b, largest] for a in range(7) for b in range(a)), key=abs, reverse=True)
    assert [float(line.split()[0]) for line in lines[:3]] == pytest.approx(values[:3], rel=1e-5)
    assert lines[3].split(maxsplit=1)[1] == "all other pairs"
    assert float(lines[3].split()[0]) == pytest.approx(sum(values[3:]), rel=1e-4, abs=1e-9)


def test_json_lines_have_them(bundles, rows, capsys):
    assert main(["explain", str(bundles["one"]), str(rows), "--json", "--interactions", "2"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 2
    for line in lines:
        found = line["interactions"]
        assert len(found["pairs"]) == 2
        total = (
            line["base"] + sum(found["main"].values()) + found["other"] + sum(pair["value"] for pair in found["pairs"])
        )
        assert total == pytest.approx(line["margin"], abs=1e-9)


def test_the_page_does_not_have_them(bundles, rows, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert main(["explain", str(bundles["one"]), str(rows), "--html", str(page), "--interactions", "2"]) == 2
    assert "--interactions: the page of --html does not show them; leave one of the two out" in capsys.readouterr().err

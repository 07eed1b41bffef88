"""`mlrf explain --html`: one file that holds its numbers, escapes every name, and may load and run nothing."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re

import pytest

import mlrf
from bundles import write_tree_bundle
from mlrf.cli import main
from mlrf.core.manifest import LinkEntry
from page_visits import HOSTILE, MARKUP

ROWS = [HOSTILE.example(), HOSTILE.example() | {MARKUP: "</script><b>x</b>", "2": None}]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_tree_bundle(
        tmp_path_factory.mktemp("page") / "b", name="hostile", schema=HOSTILE, link=LinkEntry("exp")
    )


def run(capsys, *arguments):
    status = main([str(a) for a in arguments])
    return status, capsys.readouterr().err


@pytest.fixture
def page(bundle, tmp_path, capsys):
    (tmp_path / "rows.json").write_text(json.dumps(ROWS))
    assert run(capsys, "explain", bundle, tmp_path / "rows.json", "--html", tmp_path / "out.html") == (0, "")
    return (tmp_path / "out.html").read_text(encoding="utf-8")


def test_page_holds_the_contributions_of_every_row(page, bundle):
    model = mlrf.load(bundle)
    explanation = model.explain(ROWS)
    sections = page.split("<section>")[1:]
    assert len(sections) == len(ROWS)
    for section, values, margin in zip(sections, explanation.values, model.margin(ROWS), strict=True):
        cells = [html.unescape(c) for c in re.findall("<td>(.*?)</td>", section)]
        shown = {cells[i]: cells[i + 2] for i in range(0, len(cells), 3)}
        # A row alone and in a batch agree within 1e-12.
        assert [float(shown[name]) for name in HOSTILE.names] == pytest.approx(values.tolist(), rel=1e-11)
        assert (float(shown["base"]), float(shown["margin"])) == (explanation.base, margin)


def test_policy_allows_its_style_alone_and_no_connection(page):
    policy = html.unescape(re.search('Content-Security-Policy" content="([^"]+)"', page)[1])
    style = re.search("<style>(.*?)</style>", page)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'; connect-src 'none'")
    assert "unsafe" not in policy


def test_names_with_markup_are_text(page):
    assert "<script" not in page.lower()
    assert "</script" not in page.lower()
    assert "<img" not in page
    assert html.escape(MARKUP) in page
    assert html.escape("</script><b>x</b>") in page
    assert not re.findall(r"(?:src|href|style)=", re.sub(r"&[a-z#0-9]+;", "", page).replace("img src=x", ""))


def test_one_row_is_chosen_and_many_are_refused(bundle, tmp_path, capsys):
    rows, out = tmp_path / "rows.json", tmp_path / "out.html"
    rows.write_text(json.dumps(ROWS * 60))
    status, stdout = run(capsys, "explain", bundle, rows, "--html", out)
    assert status == 2
    assert "120 rows, and a page holds at most 100; choose one with --row" in " ".join(stdout.split())
    assert not out.exists()
    assert run(capsys, "explain", bundle, rows, "--html", out, "--row", "119")[0] == 0
    assert out.read_text(encoding="utf-8").count("<section>") == 1
    status, stdout = run(capsys, "explain", bundle, rows, "--html", tmp_path / "out.txt")
    assert (status, "must end in .html" in " ".join(stdout.split())) == (2, True)

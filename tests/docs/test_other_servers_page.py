"""docs/how-to/other-servers.md: each section's server starts, and every line answers what the native route answers."""

from __future__ import annotations

import contextlib
import re
import shlex

import pytest

from bundles import write_tree_bundle
from documents import ROOT, blocks, shell
from mlrf.core.feature import Feature, Kind
from mlrf.core.schema import Schema
from running import serving

PAGE = (ROOT / "docs/how-to/other-servers.md").read_text(encoding="utf-8")
SECTIONS = {part.partition("\n")[0]: part for part in PAGE.split("\n## ")[1:]}
SCHEMA = Schema(
    (
        Feature("price", example=3.5),
        Feature("promo", Kind.BOOLEAN, example=True),
        Feature("store", Kind.CATEGORICAL, ("a", "b"), example="a"),
    )
)
"""Of the README's model."""
PUBLIC = ("--host", "--port", "--grpc-port")
"""Options that the test leaves out: it takes free ports of this machine."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_tree_bundle(tmp_path_factory.mktemp("servers") / "sales-bundle", name="sales", schema=SCHEMA)


@contextlib.contextmanager
def served(section, bundle, monkeypatch):
    """The server of a section, and its other lines with the server's address."""
    first, *lines = "".join(blocks(section, "")).strip().splitlines()
    variables, _, arguments = first.partition("mlrf serve sales-bundle")
    for variable in shlex.split(variables):
        monkeypatch.setenv(*variable.split("="))
    given = shlex.split(arguments)
    port = given[given.index("--port") + 1]
    options = [
        word for i, word in enumerate(given) if word not in PUBLIC and given[i - 1 : i] not in [[p] for p in PUBLIC]
    ]
    with serving(bundle, options=options) as server:
        assert all(f"localhost:{port}/" in line for line in lines)
        yield server, [line.replace(f"localhost:{port}", f"127.0.0.1:{server.port}") for line in lines]
        assert server.troubles == []


@pytest.mark.parametrize("name", SECTIONS)
def test_every_line_answers_what_the_native_route_answers(name, bundle, monkeypatch, tmp_path):
    with served(SECTIONS[name], bundle, monkeypatch) as (server, lines):
        expected = server.ask("POST", "/predict", {"features": SCHEMA.example()}).json["prediction"]
        assert lines
        for line in lines:
            done = shell(line + " --fail-with-body", tmp_path)
            assert done.returncode == 0, (line, done.stdout)
            if " -d " in line or "--data-binary" in line:
                assert str(expected) in re.findall(r"-?[\d.]+(?:e-?\d+)?", done.stdout), (line, done.stdout)
        for path in re.findall(r"path: (/\w+)", SECTIONS[name]):
            assert server.ask("GET", path).status in (200, 405)


def test_the_platforms_of_the_reference_have_a_section():
    reference = (ROOT / "docs/reference/platforms.md").read_text(encoding="utf-8")
    for platform in ("KServe", "MLflow", "SageMaker", "Vertex AI", "Azure ML"):
        assert f"\n## {platform}" in reference
        assert platform in SECTIONS

"""docs/tutorial.md: its steps in their order, with the server that it starts."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from documents import ROOT, blocks, commands, shell
from running import eventually, serving

PAGE = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
BEFORE, _, AFTER = PAGE.partition("\n## 6. ")


@pytest.mark.slow
def test_every_step_of_the_tutorial_works(tmp_path):
    [train] = blocks(PAGE, "python")
    subprocess.run([sys.executable, "-c", train], cwd=tmp_path, check=True, timeout=300)
    *offline, serve = commands(BEFORE, "mlrf")
    for line in offline:
        done = shell(line, tmp_path)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
    assert serve == "mlrf serve models"
    with serving(tmp_path / "models") as server:

        def ask(line: str) -> dict:
            here = line.replace("localhost:8080", f"127.0.0.1:{server.port}")
            return json.loads(shell(f"H='Content-Type: application/json'\n{here}", tmp_path).stdout)

        predicted, explained, refused = map(ask, commands(BEFORE, "curl"))
        assert predicted["prediction"] == explained["prediction"]
        assert len(explained["explanation"]["contributions"]) == 2
        assert refused["details"]["feature"] == "distance"
        assert refused["details"]["value"] == "far"
        *publish, rollback = commands(AFTER, "mlrf")
        for line in publish:
            done = shell(line, tmp_path)
            assert done.returncode == 0, f"{line}\n{done.stderr}"
        [models] = commands(AFTER, "curl")
        version = predicted["version"]
        eventually(lambda: version not in json.dumps(ask(models)), what="the second version")
        assert shell(rollback, tmp_path).returncode == 0
        eventually(lambda: version in json.dumps(ask(models)), what="the first version again")

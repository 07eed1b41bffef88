"""docs/how-to/rows-by-key.md: its commands run, in order, on rows like those of the README; its options are those of the commands."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd

from mlrf.cli import main

PAGE = (Path(__file__).parents[2] / "docs/how-to/rows-by-key.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent


def test_every_command_of_the_page_runs(tmp_path):
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"price": rng.uniform(0, 9, 200), "promo": rng.random(200) < 0.5})
    rows.to_parquet(tmp_path / "rows.parquet")
    lgb.train({"verbose": -1, "num_threads": 1}, lgb.Dataset(rows, rows["price"] + rows["promo"]), 3).save_model(
        tmp_path / "model.txt"
    )
    days = pd.date_range("2026-01-25", periods=10)
    keyed = rows[:10].assign(item=7, day=days, known=days - pd.Timedelta(hours=6))
    keyed.to_parquet(tmp_path / "keyed.parquet")
    news = {
        "key": {"item": 7, "day": "2026-01-31"},
        "features": {"price": 1.5, "promo": True},
        "as_of": "2026-01-31T05:00:00Z",
    }
    (tmp_path / "news.jsonl").write_text(json.dumps(news) + "\n", encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    path = f"{BIN}:{os.environ['PATH']}"
    for block in blocks:
        done = subprocess.run(
            ["bash", "-ec", block],
            cwd=tmp_path,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert "1 rows pushed" in done.stdout
    assert '"price": 1.5' in done.stdout


def test_the_options_of_the_page_are_those_of_the_commands(capsys):
    main(["build", "--help"])
    built = capsys.readouterr().out
    for option in re.findall(r"^\| `(--[a-z-]+)", PAGE, re.MULTILINE):
        assert option in built
    for command in re.findall(r"^mlrf features (\w+)", PAGE, re.MULTILINE):
        assert main(["features", command, "--help"]) == 0
        stdout = capsys.readouterr().out
        assert "--state-dir" in stdout
        assert "--features" in stdout

"""Every command that takes a bundle takes REPOSITORY/NAME and REPOSITORY/NAME@VERSION."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.main import get_command

from mlrf.cli import main
from mlrf.cli.app import app
from mlrf.core.bundle import read_bundle
from mlrf.serving.config.loader import read_settings
from mlrf.serving.processes.models_at_start import ModelsAtStart

CALLS = {
    "inspect": "inspect MODEL",
    "verify": "verify MODEL",
    "sign": "sign MODEL --key release.key",
    "predict": "predict MODEL rows.csv",
    "score": "score MODEL rows.parquet -o scored",
    "explain": "explain MODEL rows.csv",
    "bench": "bench MODEL --rows 100",
    "diff": "diff MODEL MODEL",
    "publish": "publish MODEL elsewhere",
    "image": "image MODEL -o context",
    "features load": "features load MODEL keyed.parquet --state-dir state",
    "features push": "features push MODEL keyed.parquet --state-dir state",
    "features get": "features get MODEL id=1 --state-dir STORE",
    "features stats": "features stats MODEL --state-dir state",
    "serve": "serve MODEL --port 0 --print-config",
    "deploy systemd": "deploy systemd -o units --name sales --bundle MODEL",
}
"""By command, a call that succeeds."""
_NAMES = {"bundle", "bundles", "old", "new"}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A repository whose model has two versions and is served by key, with rows for it and a store of the rows."""
    folder = tmp_path_factory.mktemp("home")
    for n_trees in (1, 2):
        rows = np.random.default_rng(n_trees).normal(size=(80, 3))
        data = lgb.Dataset(rows, rows[:, 1], feature_name=["x0", "x1", "x2"], params={"verbosity": -1})
        model = folder / f"{n_trees}.txt"
        lgb.train({"verbosity": -1, "min_data_in_leaf": 2}, data, n_trees).save_model(model)
        build = ["build", model, "-o", folder / f"{n_trees}", "--name", "sample", "--key", "id:integer"]
        for command in (build, ["publish", folder / f"{n_trees}", folder / "models"]):
            assert main([str(each) for each in command]) == 0
    assert main(["keygen", str(folder / "release.key")]) == 0
    rows = pa.table({"id": [1, 2], "x0": [0.1, 1.0], "x1": [0.2, 0.5], "x2": [0.3, 2.0]})
    pq.write_table(rows, folder / "keyed.parquet")
    pq.write_table(rows.drop_columns("id"), folder / "rows.parquet")
    (folder / "rows.csv").write_text("x0,x1,x2\n0.1,0.2,0.3\n")
    load = ["features", "load", folder / "models/sample", folder / "keyed.parquet", "--state-dir", folder / "store"]
    assert main([str(each) for each in load]) == 0
    return folder


def commands_with_a_bundle():
    """Walk the table of commands for those with an argument or option that names a bundle."""
    found = {"serve"}  # it declares its own arguments
    for name, command in get_command(app).commands.items():
        for inner, each in getattr(command, "commands", {"": command}).items():
            if any(parameter.name in _NAMES for parameter in each.params):
                found.add(f"{name} {inner}".strip())
    return found


def test_no_command_is_left_out():
    assert commands_with_a_bundle() == set(CALLS)


@pytest.mark.parametrize("version", ["", "@1", "@2"])
@pytest.mark.parametrize("command", CALLS)
def test_a_command_takes_a_model_of_a_repository(command, version, home, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    files = {each.name: str(each) for each in home.glob("*.*")}
    named = {**files, "MODEL": f"{home}/models/sample{version}", "STORE": f"{home}/store"}
    status = main([named.get(word, word) for word in CALLS[command].split()])
    assert (status, capsys.readouterr().err) == (0, "")


def test_the_named_version_is_the_one_that_is_served(home):
    for text, folder in (("", "2"), ("@1", "1"), ("@2", "2")):
        found = ModelsAtStart(read_settings([f"{home}/models/sample{text}"], {}))
        assert [each.version for each in found.bundles] == [read_bundle(home / folder).version]

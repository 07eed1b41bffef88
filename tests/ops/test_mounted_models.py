"""Bundles as Kubernetes mounts them: symbolic links of a ConfigMap or a modelcar, and the name of an InferenceService."""

from __future__ import annotations

import shutil
import signal

import pytest

from bundles import write_stump_bundle
from load import BODY, PREDICTION
from mlrf.core.bundle import read_bundle
from mlrf.core.errors import BundleError
from mlrf.core.publishing import publish
from raw_http import Client
from running import eventually, run_to_its_end, serving


@pytest.fixture
def config_map(tmp_path):
    """A bundle as the kubelet lays out a ConfigMap or Secret: names are links through `..data` to a dated directory."""
    path = tmp_path / "mounted"
    write_stump_bundle(path / "..2026_01_31")
    (path / "..data").symlink_to("..2026_01_31")
    for file in (path / "..2026_01_31").iterdir():
        (path / file.name).symlink_to(f"..data/{file.name}")
    return path


def test_links_are_refused_with_the_option_that_follows_them(config_map):
    status, output, _ = run_to_its_end([config_map])
    assert status == 3
    assert "is not a regular file; `mlrf serve --allow-links` follows links" in output


def test_a_mounted_config_map_is_served_with_links_allowed(config_map):
    with serving(config_map, options=["--allow-links", "--admin", "127.0.0.1:0"]) as server:
        assert server.ask("POST", "/predict", BODY).json["prediction"] == PREDICTION
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: any(entry["event"] == "settings in force" for entry in server.log), what="new workers")
        assert server.ask("POST", "/predict", BODY).json["prediction"] == PREDICTION


@pytest.mark.parametrize("damage", ["altered", "no file", "a directory", "extra"])
def test_digests_are_checked_through_links(damage, config_map):
    file = config_map / "..2026_01_31/schema.json"
    if damage == "altered":
        content = file.read_bytes()
        file.write_bytes(content[:-2] + b" }")
    elif damage == "no file":
        file.unlink()
    elif damage == "a directory":
        file.unlink()
        file.mkdir()
    else:
        (config_map / "other").symlink_to("..data/schema.json")
    with pytest.raises(BundleError):
        read_bundle(config_map, allow_links=True)


def test_a_link_to_the_directory_needs_no_option(tmp_path):
    """As a modelcar has it: the mount is a link into another container's file system."""
    write_stump_bundle(tmp_path / "proc/root/models")
    (tmp_path / "models").symlink_to("proc/root/models")
    with serving(tmp_path / "models") as server:
        assert server.ask("POST", "/predict", BODY).json["prediction"] == PREDICTION


def test_a_bundle_is_served_under_another_name_everywhere(tmp_path):
    bundle = write_stump_bundle(tmp_path / "bundle", name="trained", key={"shop": "integer"})
    state = ["--state-dir", str(tmp_path / "state")]
    with serving(
        bundle, workers=2, options=["--model-name", "sales", "--admin", f"unix:{tmp_path}/admin", *state]
    ) as server:
        answer = server.ask("POST", "/models/sales/predict", BODY).json
        assert (answer["model"], answer["prediction"]) == ("sales", PREDICTION)
        assert server.ask("POST", "/v1/models/sales:predict", {"instances": [BODY["features"]]}).status == 200
        assert server.ask("GET", "/v2/models/sales").json["name"] == "sales"
        assert server.ask("POST", "/models/trained/predict", BODY).status == 404
        first = server.booted(2)
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: not set(first) & set(server.workers()), what="workers born later")
        assert server.ask("POST", "/models/sales/predict", BODY).json["model"] == "sales"
    # Rows stay with the model, not with the name that it is served by.
    assert [folder.name for folder in (tmp_path / "state/features").iterdir()] == ["trained"]


@pytest.mark.slow
def test_a_renamed_bundle_is_loaded_again_under_its_new_name(tmp_path):
    bundle = write_stump_bundle(tmp_path / "bundle", name="trained")
    with serving(bundle, options=["--model-name", "sales", "--admin", "127.0.0.1:0"]) as server:
        address = next(entry["address"] for entry in server.log if entry["event"] == "admin listening")
        with Client(int(address.rpartition(":")[2])) as admin:
            assert admin.ask("POST", "/admin/models/sales/load").status == 200
        assert server.ask("POST", "/models/sales/predict", BODY).json["model"] == "sales"


def test_a_repository_or_several_bundles_take_no_name(tmp_path):
    one, two = write_stump_bundle(tmp_path / "one", name="one"), write_stump_bundle(tmp_path / "two", name="two")
    publish(one, tmp_path / "models")
    for bundles in ([one, two], [tmp_path / "models"]):
        status, output, _ = run_to_its_end(bundles, "--model-name", "sales")
        assert (status, "--model-name: " in output) == (2, True), output
    shutil.rmtree(tmp_path / "models")

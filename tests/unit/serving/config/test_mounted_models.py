"""`--find-bundle`: finds the model where a platform mounted it, or refuses the start by name."""

from __future__ import annotations

import pwd
from pathlib import Path

import pytest

from bundles import write_bundle
from mlrf.core.errors import ConfigError
from mlrf.core.publishing import publish
from mlrf.serving.config.loader import read_settings
from mlrf.serving.config.mounted_models import MOUNTS, find_mounted


def mount(root, mount_path, name="sample"):
    return write_bundle(root / mount_path.lstrip("/"), name=name)


@pytest.mark.parametrize("mount_path", MOUNTS)
def test_a_bundle_is_found_at_each_mount(mount_path, tmp_path):
    path = mount(tmp_path, mount_path)
    for other in MOUNTS:  # images have some of them, empty
        (tmp_path / other.lstrip("/")).mkdir(parents=True, exist_ok=True)
    (tmp_path / "models/lost+found").mkdir(exist_ok=True) if mount_path != "/models" else None
    assert find_mounted(root=tmp_path) == path


def test_two_mounts_with_models_are_refused_by_name(tmp_path):
    paths = [mount(tmp_path, mount_path) for mount_path in MOUNTS[1:]]
    with pytest.raises(ConfigError, match="name the one to serve") as refused:
        find_mounted(root=tmp_path)
    assert all(str(path) in str(refused.value) for path in paths)


def test_no_mounted_model_is_refused_with_the_paths(tmp_path):
    with pytest.raises(ConfigError) as refused:
        find_mounted(root=tmp_path)
    assert all(mount_path in str(refused.value) for mount_path in MOUNTS)


def test_a_repository_is_found(tmp_path):
    publish(write_bundle(tmp_path / "bundle"), tmp_path / "models")
    assert find_mounted(root=tmp_path) == tmp_path / "models"


def test_a_bundle_in_the_one_directory_of_a_mount_is_found(tmp_path):
    path = mount(tmp_path, "/mnt/models/sales")
    (tmp_path / "mnt/models/README").write_text("next to it")
    assert find_mounted(root=tmp_path) == path


def test_several_bundles_in_a_mount_are_refused_by_name(tmp_path):
    paths = [mount(tmp_path, f"/models/{name}") for name in ("a", "b")]
    with pytest.raises(ConfigError, match="holds several models") as refused:
        find_mounted(root=tmp_path)
    assert all(str(path) in str(refused.value) for path in paths)


def test_the_storage_uri_of_vertex_counts_as_a_mount(tmp_path):
    path = write_bundle(tmp_path / "bundle")
    assert find_mounted(str(path), tmp_path) == path
    mount(tmp_path, "/models")
    with pytest.raises(ConfigError, match="name the one to serve"):
        find_mounted(str(path), tmp_path)


def test_storage_uri_with_a_scheme_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"AIP_STORAGE_URI: addresses of gs are not fetched; .*`mlrf image`"):
        find_mounted("gs://bucket/model", tmp_path)


def test_the_storage_uri_counts_for_vertex_alone(tmp_path):
    path = write_bundle(tmp_path / "bundle")
    environment = {"MLRF_FIND_BUNDLE": "true", "AIP_STORAGE_URI": str(path)}
    assert read_settings(["--platform", "vertex"], environment).bundles == (path,)
    with pytest.raises(ConfigError, match="no model is mounted"):
        read_settings([], environment)


def test_a_bundle_that_is_named_is_not_looked_for(tmp_path):
    assert read_settings([str(tmp_path)], {"MLRF_FIND_BUNDLE": "true"}).bundles == (tmp_path,)


def test_without_the_option_a_bundle_must_be_named():
    with pytest.raises(ConfigError, match="name at least one bundle"):
        read_settings([], {"AIP_STORAGE_URI": "/somewhere"})


def test_settings_are_read_for_a_user_without_a_home(monkeypatch):
    """As containers have them: a user in no password file, and no HOME."""

    def unknown(_uid):
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "XDG_STATE_HOME", "STATE_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    assert read_settings(["bundle"], {}).state_dir == Path("/var/lib/mlrf")

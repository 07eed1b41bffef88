"""The settings that gunicorn reads: complete, and with gunicorn's own defaults."""

from __future__ import annotations

import re
from pathlib import Path

import gunicorn
import pytest
from gunicorn.config import Config

from mlrf.serving.config.settings import ServeSettings
from mlrf.serving.processes.gunicorn_settings import Application, _defaults

NEVER_READ = {
    "control_socket",
    "control_socket_mode",
    "env_orig",
    "on_reload",
    "pre_exec",
    "reload_engine",
    "reload_extra_files",
    "worker_abort",
}
"""Settings of the control socket, and of signals and options that this server does not have."""


@pytest.fixture
def settings():
    return Application(ServeSettings(bundles=(Path("bundle"),))).cfg


def test_all_that_a_start_reads_is_given(settings):
    folder = Path(gunicorn.__file__).parent
    texts = [(folder / each).read_text() for each in ("arbiter.py", "workers/base.py", "workers/workertmp.py")]
    read = {name for text in texts for name in re.findall(r"\bcfg\.(\w+)", text)}
    assert "worker_tmp_dir" in read
    assert read - NEVER_READ <= vars(settings).keys() | {"set"}


def test_the_defaults_are_gunicorns():
    gunicorns = Config()
    for name, value in _defaults().items():
        assert callable(value) == callable(getattr(gunicorns, name))
        assert callable(value) or value == getattr(gunicorns, name), name


def test_another_setting_has_gunicorns_default(settings):
    assert settings.keepalive == Config().keepalive
    with pytest.raises(AttributeError):
        _ = settings.no_such_setting


def test_a_setting_can_be_changed(settings):
    settings.set("graceful_timeout", 7)
    assert settings.graceful_timeout == 7

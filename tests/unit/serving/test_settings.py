"""A wrong option stops the start, and its name is in the sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlrf.cli.serve import read_settings
from mlrf.core.errors import ConfigError
from mlrf.serving.processes.listeners import bind_listeners
from mlrf.serving.settings import ServeSettings

WRONG = [
    ("--port", "-1"), ("--port", "65536"), ("--workers", "0"), ("--workers", "257"), ("--max-batch", "0"), ("--backlog", "0"),
    ("--backlog", "99999999999"), ("--drain-timeout", "-1"), ("--drain-timeout", "nan"), ("--drain-timeout", "inf"),
    ("--worker-timeout", "0.5"), ("--worker-timeout", "inf"), ("--worker-timeout", "nan"), ("--max-body-bytes", "0"),
    ("--max-header-bytes", "-1"), ("--max-header-fields", "0"), ("--request-timeout", "0"), ("--request-timeout", "nan"),
    ("--idle-timeout", "0"), ("--write-timeout", "-3"), ("--request-timeout", "inf"), ("--idle-timeout", "inf"),
    ("--idle-timeout", "nan"), ("--write-timeout", "inf"), ("--write-timeout", "86401"), ("--max-header-bytes", "255"),
]  # fmt: skip
UNREADABLE = [
    ("--port", "http"), ("--workers", "two"), ("--unknown-features", "guess"), ("--unknown-categories", "x"), ("--engine", "abacus"),
    ("--log-level", "loud"), ("--request-timeout", "soon"), ("--nonsense", "1"), ("--work", "2"),
]  # fmt: skip


@pytest.mark.parametrize(("option", "value"), WRONG)
def test_a_value_out_of_range_is_refused_by_name(option, value):
    with pytest.raises(ConfigError, match=option) as refused:
        read_settings(["bundle", f"{option}={value}"])
    assert refused.value.details["option"] == option


@pytest.mark.parametrize(("option", "value"), UNREADABLE)
def test_an_argument_that_cannot_be_read_ends_with_2_and_its_name(option, value, capsys):
    with pytest.raises(SystemExit) as ended:
        read_settings(["bundle", option, value])
    assert ended.value.code == 2
    assert option in capsys.readouterr().err


def test_the_defaults_are_those_of_the_settings():
    assert read_settings(["bundle"]) == ServeSettings(bundles=(Path("bundle"),))


def test_no_bundle_is_refused(capsys):
    with pytest.raises(SystemExit) as ended:
        read_settings([])
    assert ended.value.code == 2
    assert "BUNDLE" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="BUNDLE"):
        ServeSettings(bundles=())


def test_an_address_of_another_machine_is_refused_by_name():
    with pytest.raises(ConfigError, match="--host"):
        bind_listeners("192.0.2.1", 0, 1, 10)


@pytest.mark.parametrize("host", ["a b", "x" * 300, "..", "no-such-host.invalid"])
def test_a_host_that_is_none_is_refused_by_name(host):
    with pytest.raises(ConfigError, match="--host"):
        bind_listeners(host, 0, 1, 10)

"""Settings take precedence in their order; wrong ones stop the start and are named with their source."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from bundles import write_bundle
from mlrf.core.errors import ConfigError
from mlrf.serving.config.loader import gather, read_configuration, read_settings
from mlrf.serving.config.settings import OPTIONS, ServeSettings
from mlrf.serving.processes.listeners import bind_listeners

WRONG = [
    ("--ui", "maybe"),
    ("--port", "-1"), ("--grpc-port", "65536"), ("--grpc-port", "-1"), ("--port", "65536"), ("--workers", "0"), ("--workers", "257"), ("--max-batch", "0"), ("--max-infer-rows", "0"), ("--backlog", "0"),
    ("--backlog", "99999999999"), ("--drain-timeout", "-1"), ("--shutdown-delay", "-1"), ("--shutdown-delay", "inf"), ("--drain-timeout", "nan"), ("--drain-timeout", "inf"),
    ("--worker-timeout", "0.5"), ("--worker-timeout", "inf"), ("--worker-timeout", "nan"), ("--max-body-bytes", "0"),
    ("--max-header-bytes", "-1"), ("--max-header-fields", "0"), ("--request-timeout", "0"), ("--request-timeout", "nan"),
    ("--idle-timeout", "0"), ("--write-timeout", "-3"), ("--request-timeout", "inf"), ("--idle-timeout", "inf"),
    ("--idle-timeout", "nan"), ("--write-timeout", "inf"), ("--write-timeout", "86401"), ("--max-header-bytes", "255"),
    ("--access-log-rate", "1.5"), ("--access-log-rate", "nan"), ("--prediction-log", "/no/such"), ("--prediction-log-rate", "-1"),
    ("--header-timeout", "0"), ("--max-connections", "0"), ("--max-wait", "0"), ("--max-feature-age", "0"), ("--stale-features", "hide"),
    ("--trace-rate", "2"), ("--otlp-endpoint", "collector:4318"), ("--otlp-endpoint", "http://"), ("--otlp-endpoint", "http://h:x"),
    ("--cache-ttl", "0"), ("--reload-timeout", "0"), ("--on-bad-model", "ignore"), ("--store-poll", "0"), ("--store-timeout", "0"), ("--max-requests", "-1"), ("--max-requests-jitter", "-1"),
    ("--prediction-log-file-bytes", "1"), ("--prediction-log-files", "1"), ("--prediction-log-format", "csv"), ("--prediction-log-features", "drop"), ("--platform", "azure"), ("--predict-route", "score"), ("--health-route", "/a?b"),
    ("--port", "http"), ("--workers", "two"), ("--unknown-features", "guess"), ("--unknown-categories", "x"), ("--engine", "abacus"),
    ("--log-level", "loud"), ("--request-timeout", "soon"), ("--port", "8_0"), ("--port", " 80"), ("--port", "٨٠"), ("--default", ""), ("--admin", "0.0.0.0:1"),
    ("--features", "redis://h:port/0"), ("--features", "redis://h:0"), ("--features", "redis://h/prod"), ("--features", "redis://[h"),
    ("--shared-cache", "h:6379"), ("--shared-cache", "redis://h:99999"), ("--cache", "x"), ("--cache", "9999999GiB"), ("--features", "localhost:6379"), ("--features-timeout", "0"), ("--features-timeout", "nan"),
]  # fmt: skip
WRONG_IN_TOML = [
    ("port", '"80"'), ("port", "80.0"), ("port", "true"), ("port", "65536"), ("request_timeout", "true"), ("request_timeout", "nan"),
    ("log_level", '"loud"'), ("log_level", "1"), ("bundles", '"one"'), ("bundles", "[1]"), ("bundles", '[""]'), ("default", "[]"),
]  # fmt: skip
BY_FLAG = {each.flag: each for each in OPTIONS}
ANOTHER = {
    "model_name": "another",
    "host": "::1",
    "cors_origin": ("https://a.example", "https://b.example"),
    "otlp_endpoint": "https://collector:4318",
    "prediction_log": Path(tempfile.gettempdir()),
    "port": 1,
    "grpc_port": 1,
    "admin": "unix:/a",
    "bundles": (Path("/a"), Path("/b")),
    "cache": "0",
    "features": "redis://h/1",
    "shared_cache": "redis://h/2",
}
"""Values that are not default, of options that would not take what `another` thinks up."""


@pytest.fixture
def toml(tmp_path):
    def write(text):
        file = tmp_path / "mlrf.toml"
        file.write_text(text, encoding="utf-8")
        return f"--config={file}"

    return write


@pytest.mark.parametrize(("option", "value"), WRONG)
def test_a_wrong_value_is_refused_by_name_and_source(option, value):
    with pytest.raises(ConfigError, match=f"^{option}: ") as refused:
        read_settings(["bundle", f"{option}={value}"], {})
    assert refused.value.details["option"] == option
    variable = BY_FLAG[option].variable
    if value:
        with pytest.raises(ConfigError, match=f"^{variable}: ") as refused:
            read_settings(["bundle"], {variable: value})
        assert refused.value.details["option"] == option


@pytest.mark.parametrize(("key", "value"), WRONG_IN_TOML)
def test_a_wrong_value_in_a_file_is_refused_by_file_and_key(key, value, toml):
    with pytest.raises(ConfigError, match=rf"mlrf\.toml: {key}: "):
        read_settings(["bundle", toml(f"{key} = {value}")], {})


def test_every_option_that_refuses_something_is_tried_with_it():
    checked = {each.flag for each in OPTIONS if each.kind in (int, float) or each.choices}
    assert checked - {flag for flag, _ in WRONG} == set()


def test_a_check_is_made_of_settings_that_no_source_gave():
    with pytest.raises(ConfigError, match="--port"):
        ServeSettings(bundles=(Path("bundle"),), port=-1)


@pytest.mark.parametrize("option", ["--nonsense", "--work"])
def test_unknown_option_exits_with_2_and_is_named(option, capsys):
    with pytest.raises(SystemExit) as ended:
        read_settings(["bundle", option, "1"], {})
    assert ended.value.code == 2
    assert option in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "meant"), [("MLRF_PROT", "MLRF_PORT"), ("MLRF_x", "--help"), ("MLRF_SERVICES", "--help")]
)
def test_unknown_option_variable_is_refused(name, meant):
    with pytest.raises(ConfigError, match=f"{name}: .*{meant}"):
        read_settings(["bundle"], {name: "1"})


@pytest.mark.parametrize("text", ["prot = 1", "max-batch = 1", "[server]\nport = 1"])
def test_unknown_config_key_is_refused(text, toml):
    with pytest.raises(ConfigError, match=r"mlrf\.toml: '(prot|max-batch|server)' is not an option"):
        read_settings(["bundle", toml(text)], {})


@pytest.mark.parametrize(
    "text", ["port 1", "port = 1\nport = 2", '"\ud800"', "port = " + "1" * 5000, "port = " + "[" * 5000]
)
def test_invalid_toml_is_refused(text, tmp_path):
    file = tmp_path / "mlrf.toml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ConfigError, match=rf"--config: {file} is not TOML"):
        read_settings(["bundle"], {"MLRF_CONFIG": str(file)})


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"--config: .*none\.toml cannot be read: No such file"):
        read_settings(["bundle", "--config", str(tmp_path / "none.toml")], {})


def test_variables_of_others_are_left_alone():
    links = {
        "MLRF_SERVICE_HOST": "10.0.0.1",
        "MLRF_SERVICE_PORT": "80",
        "MLRF_SERVICE_PORT_HTTP": "80",
        "MLRF_PORT": "tcp://10.0.0.1:80",
    }
    links |= {
        "MLRF_PORT_80_TCP": "tcp://10.0.0.1:80",
        "MLRF_PORT_80_TCP_ADDR": "10.0.0.1",
        "MLRF_REDIS_SERVICE_HOST": "10.0.0.2",
    }
    others = {"MLRF_KERNEL_LEVEL": "baseline", "MLRF_WORKERS": "", "PORT": "1"}
    assert read_settings(["bundle"], links | others) == read_settings(["bundle"], {})


def test_the_defaults_are_those_of_the_settings():
    assert read_settings(["bundle"], {}) == ServeSettings(bundles=(Path("bundle"),))


def test_no_bundle_is_refused():
    with pytest.raises(ConfigError, match="BUNDLE"):
        read_settings([], {})


def another(option):
    """A value that is not the option's default, and its text."""
    value = ANOTHER.get(option.key)
    if value is None:
        if option.kind is bool:
            value = not option.default
        elif option.kind in (int, float):
            value = (option.default or 0) + 1
            value = value if option.problem_with(value) is None else 0.5
        else:
            value = option.choices[-1] if option.choices else option.kind("/x")
            value = (value,) if option.many else value
    parting = ":" if option.kind is Path else ","
    return value, parting.join(map(str, value)) if option.many else str(value)


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.key)
def test_every_option_is_taken_from_every_source(option, toml):
    value, text = another(option)
    rest = [] if option.positional else ["bundle"]
    several = list(map(str, value)) if option.many else [text]
    arguments = several if option.positional else [f"{option.flag}={each}" for each in several]
    if option.kind is bool:
        arguments = [option.flag if value else option.flag.replace("--", "--no-", 1)]
    shown = json.dumps(several) if option.many else json.dumps(text if option.kind is Path else value)
    for argv, environ, origin in [
        (arguments, {}, "command line"),
        ([], {option.variable: text}, option.variable),
        ([toml(f"{option.key} = {shown}")], {}, "mlrf.toml"),
    ]:
        # Whether it goes together with the values of others is another question.
        found, _ = gather([*rest, *argv], environ)
        assert found[option][0] == value
        assert found[option][1].endswith(origin)


def test_option_precedence_is_cli_env_file_default(toml):
    file = toml("port = 1\nmax_batch = 1\nbacklog = 1")
    found = read_configuration(["bundle", file, "--port=3"], {"MLRF_PORT": "2", "MLRF_MAX_BATCH": "2"})
    settings = found.settings
    assert (settings.port, settings.max_batch, settings.backlog, settings.drain_timeout_s) == (3, 2, 1, 10.0)


def test_config_paths_are_relative_to_their_file(toml, tmp_path):
    assert read_settings([toml('bundles = ["a", "/b"]')], {}).bundles == (tmp_path / "a", Path("/b"))


def test_bundles_may_precede_and_follow_options():
    for argv in (["a", "--port", "1", "b"], ["--port", "1", "a", "b"], ["a", "b", "--port=1"]):
        assert read_settings(argv, {}).bundles == (Path("a"), Path("b"))


def test_print_config_shows_origins_and_is_a_config_file(toml):
    configuration = read_configuration(
        ["/a", "--print-config", toml("max_batch = 7")], {"MLRF_HOST": "été", "MLRF_WORKERS": "3"}
    )
    assert configuration.print_only
    text = configuration.text()
    lines = {line.split(" ")[0]: line for line in text.splitlines()}
    assert lines["bundles"].endswith("# command line")
    assert lines["workers"].endswith("# MLRF_WORKERS")
    assert lines["max_batch"].endswith("mlrf.toml")
    assert lines["port"].endswith("# default")
    assert len(text.splitlines()) == len(OPTIONS)
    assert read_settings([toml(text)], {}) == configuration.settings


def test_wrong_settings_exit_with_2_before_opening_anything():
    command = [sys.executable, "-m", "mlrf", "serve", "no-such-bundle"]
    wrong = subprocess.run(
        command, env={**os.environ, "MLRF_PROT": "1"}, capture_output=True, text=True, timeout=300, check=False
    )
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "MLRF_PROT" in wrong.stderr
    shown = subprocess.run([*command, "--print-config"], capture_output=True, text=True, timeout=300, check=False)
    assert shown.returncode == 3, "as the start would end"
    assert "no-such-bundle" in shown.stderr
    assert 'no-such-bundle"]' in shown.stdout


@pytest.mark.parametrize(
    ("options", "status", "named"),
    [
        ([], 0, ""),
        (["--default", "other"], 2, "--default"),
        (["--host", "203.0.113.7"], 2, "--host"),
        (["--host", "no such host"], 2, "--host"),
        (["--port", "18099", "--grpc-port", "18099"], 2, "--grpc-port"),
        (["--grpc-port", "0", "--grpc-host", "203.0.113.7"], 2, "--grpc-host"),
    ],
)
def test_print_config_ends_as_the_start_would(tmp_path, options, status, named):
    path = write_bundle(tmp_path / "sample", name="sample")
    command = [sys.executable, "-m", "mlrf", "serve", str(path), "--print-config", *options]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert (shown.returncode, named in shown.stderr) == (status, True), shown.stderr
    assert "max_batch = 100" in shown.stdout


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_on_a_full_disk_is_a_failure_of_one_sentence(flag):
    with open("/dev/full", "w") as full:
        shown = subprocess.run(
            [sys.executable, "-m", "mlrf", "serve", flag], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert shown.returncode == 1
    assert shown.stderr.splitlines() == [
        "mlrf: standard output cannot be written: No space left on device; free space, or write elsewhere"
    ]


def test_an_address_of_another_machine_is_refused_by_name():
    with pytest.raises(ConfigError, match="--host"):
        bind_listeners("192.0.2.1", 0, 1, 10)


@pytest.mark.parametrize("host", ["a b", "x" * 300, "..", "no-such-host.invalid"])
def test_invalid_host_is_refused_by_name(host):
    with pytest.raises(ConfigError, match="--host"):
        bind_listeners(host, 0, 1, 10)


@pytest.mark.parametrize(
    "name", ["MLRF_KEYS", "MLRF_TLS_CERT", "MLRF_TLS_CLIENT_CA", "MLRF_CORS_ORIGIN", "MLRF_REQUIRE_SIGNATURE"]
)
def test_empty_access_variable_is_refused(name):
    with pytest.raises(ConfigError, match=f"{name}: the variable is set but empty"):
        read_settings(["bundle"], {name: ""})
    assert read_settings(["bundle"], {"MLRF_HOST": ""}).host == "127.0.0.1"

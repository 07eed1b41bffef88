"""The demo with small data and a stand-in server: it succeeds, reports errors, and leaves nothing running."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import unquote

import pytest
from rich.console import Console

from mlrf.core.errors import ConfigError, MlrfError, OutputExistsError
from mlrf.demo.demo_command import _interrupted_once, run
from mlrf.demo.request_rows import key_of, named_instances
from mlrf.demo.server_process import Server, require_free_port, serve_command
from mlrf.demo.steps import DemoOptions
from running import eventually, free_port

STAND_IN = str(Path(__file__).with_name("stand_in_server.py"))
OPTIONS = {"workers": 1, "rate": 100, "seconds": 1}


def build(model, out, sample, rows):
    categories = {
        name: sample[name].cat.categories.tolist() if name in {"store_id", "department"} else None for name in sample
    }
    out.mkdir()
    model.save_model(out / "model.txt")
    (out / "features.json").write_text(json.dumps(categories))
    days = [str(day) for day in rows["date"]]
    instances = named_instances(rows[list(sample)])
    stored = [{"key": key_of(i, day), "features": i} for i, day in zip(instances, days, strict=True)]
    (out / "rows.json").write_text(json.dumps(stored))
    return out


def command(bundle, *, port, workers):
    return [sys.executable, STAND_IN, str(bundle), str(port)]


@pytest.fixture
def parts(retail):
    return DemoOptions(read=lambda: retail, trees=3, build=build, command=command)


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200)


def test_once_runs_everything_and_stops(parts, port, console, tmp_path):
    assert run(once=True, port=port, out=tmp_path / "out", parts=parts, console=console, **OPTIONS) == 0
    text = console.file.getvalue()
    assert "not what the stores took" in text
    assert "same weekday last week" in text
    assert "3 trees" in text
    assert re.search(r"All \d served numbers equal Booster.predict on the same row, bit for bit.", text)
    assert re.search(r"100 │ +100 │ +0 │ +\d+/s", text)
    require_free_port(port)

    curls = [line for line in text.splitlines() if line.startswith("curl ")]
    assert len(curls) == 8
    assert re.search(r"by key alone .* as of 2017-05-30T00:00:00Z", text)
    assert "computed when the bundle was built" in text
    address, _, fragment = next(line for line in text.splitlines() if "/ui#" in line).partition("#")
    assert address == f"http://127.0.0.1:{port}/ui"
    opened = json.loads(unquote(fragment))
    posts = [words for words in map(shlex.split, curls) if len(words) > 3]
    assert all(words[3:5] == ["-H", "Content-Type: application/json"] for words in posts)
    named, positional, batch, by_key, what_if = (json.loads(words[6]) for words in posts)
    assert len(named["features"]) == len(positional["features"]) == 27
    assert batch["instances"] == [positional, named]
    assert (
        by_key["key"] == what_if["key"] == {name: named["features"].get(name, "2017-05-30") for name in by_key["key"]}
    )
    assert opened == {"model": "department-revenue", "key": by_key["key"]}
    assert what_if["overrides"].keys() <= named["features"].keys()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_only_the_first_signal_interrupts(number):
    before = signal.getsignal(number)
    with _interrupted_once():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        for late in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.raise_signal(late)
    assert signal.getsignal(number) is before


@pytest.mark.slow
def test_it_stays_up_until_a_signal_which_is_a_good_end(parts, port, console, tmp_path):
    def end_when_up() -> None:
        eventually(lambda: "stays up" in console.file.getvalue(), 300)
        os.kill(os.getpid(), signal.SIGINT)

    waiting = threading.Thread(target=end_when_up)
    waiting.start()
    assert run(once=False, port=port, out=tmp_path / "out", parts=parts, console=console, **OPTIONS) == 0
    waiting.join()
    assert "Stopped; the server has exited." in console.file.getvalue()
    require_free_port(port)


def test_a_signal_in_the_middle_of_the_load_ends_everything(parts, port, console, tmp_path):
    def end_midway() -> None:
        eventually(lambda: "bit for bit" in console.file.getvalue(), 300)
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGTERM)

    waiting = threading.Thread(target=end_midway)
    waiting.start()
    options = {**OPTIONS, "seconds": 600}
    assert run(once=True, port=port, out=tmp_path / "out", parts=parts, console=console, **options) == 1
    waiting.join()
    assert "Interrupted" in console.file.getvalue()
    require_free_port(port)


def test_a_taken_port_is_refused_before_the_long_work(port, console):
    def never() -> None:
        raise AssertionError("the transactions were read")

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(ConfigError, match=f"127.0.0.1:{port} cannot be used"):
            run(once=True, port=port, out=None, parts=DemoOptions(read=never), console=console, **OPTIONS)


def test_non_bundle_output_is_refused_before_the_work(port, console, tmp_path):
    def never() -> None:
        raise AssertionError("the transactions were read")

    (tmp_path / "thesis").write_text("years of work")
    with pytest.raises(OutputExistsError, match="the demo does not replace it; choose another directory with -o"):
        run(once=True, port=port, out=tmp_path, parts=DemoOptions(read=never), console=console, **OPTIONS)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis"]


@pytest.mark.parametrize(
    ("name", "value"), [("port", 0), ("port", 70_000), ("workers", 0), ("rate", 0), ("seconds", 0)]
)
def test_an_option_out_of_bounds_is_refused_by_name(console, port, name, value):
    with pytest.raises(ConfigError, match=name):
        run(**{"once": True, "out": None, "port": port, "console": console, **OPTIONS, name: value})


def test_failed_server_start_shows_its_last_log_lines(port):
    words = [sys.executable, "-c", "import sys; print('no such bundle'); sys.exit(3)"]
    with pytest.raises(MlrfError, match=r"(?s)status 3 before it was ready.*no such bundle"), Server(words, port):
        pass


def test_a_server_that_ignores_the_request_to_end_is_ended(port, monkeypatch, tmp_path):
    monkeypatch.setattr("mlrf.demo.server_process._STOP_LIMIT_S", 0.3)
    deaf = (
        "import signal, http.server as h; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "class Ready(h.BaseHTTPRequestHandler):\n"
        "    def do_GET(self): self.send_response(200); self.end_headers()\n"
        f"h.HTTPServer(('127.0.0.1', {port}), Ready).serve_forever()"
    )
    with Server([sys.executable, "-c", deaf], port) as server:
        process = server._process
        assert server.alive
    assert process.returncode == -signal.SIGKILL


def test_the_command_is_what_a_newcomer_would_type():
    words = serve_command(Path("out"), port=8080, workers=2)
    assert words[1:] == [
        "-m",
        "mlrf",
        "serve",
        "out",
        "--host",
        "127.0.0.1",
        "--port",
        "8080",
        "--workers",
        "2",
        "--state-dir",
        "out-state",
    ]


def test_load_driver_imports_without_demo_packages():
    script = "import sys, mlrf.demo.load_generator.drive, mlrf.demo.demo_command; print({'pandas', 'lightgbm', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

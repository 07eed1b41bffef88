"""The scoreboard's probe of /healthz counts lost connections instead of failing on them."""

from __future__ import annotations

import json
import socketserver
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from running import eventually

PROBE = Path(__file__).parents[2] / "ops" / "health_probe.py"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
LOST_S = 10.0


class OneAnswer(socketserver.BaseRequestHandler):
    """Answers the first request of a connection, and closes it before the end of the second answer."""

    def handle(self) -> None:
        self.request.recv(65536)
        self.request.sendall(ANSWER)
        if self.request.recv(65536):
            self.server.n_lost += 1
            self.request.sendall(ANSWER[: self.server.second_bytes])


@pytest.mark.parametrize("second_bytes", [0, 20])
def test_lost_connections_count_as_ten_seconds(second_bytes):
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), OneAnswer) as server:
        server.daemon_threads, server.second_bytes, server.n_lost = True, second_bytes, 0
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        command = [sys.executable, PROBE, str(server.server_address[1])]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as probe:
            # Four kept connections: once eight are lost, each was opened again.
            eventually(lambda: server.n_lost >= 8 or probe.poll() is not None, what="eight lost connections")
            printed, _ = probe.communicate(timeout=60)
        server.shutdown()
    assert probe.returncode == 0
    seconds = json.loads(printed.splitlines()[-1])
    assert max(seconds["new"]) < LOST_S
    assert {each == LOST_S for each in seconds["kept"]} == {True, False}

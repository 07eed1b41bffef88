"""A server that answers 503 a number of times, then 1.5, and notes the time that each client has left."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler


class OnceBusy(BaseHTTPRequestHandler):
    """Answers 503 a number of times, then a prediction."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two packets: the second waited 40 ms for an acknowledgement
    refusals = 0
    timeouts: list[int]

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        type(self).timeouts.append(int(self.headers["X-Request-Timeout-Ms"]))
        status, body = 200, b'{"prediction":1.5}'
        if type(self).refusals:
            type(self).refusals -= 1
            status, body = 503, b'{"error":"busy","code":"OVERLOADED","details":{},"request_id":"r"}'
        self.send_response(status)
        if status != 200:
            self.send_header("Retry-After", "0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

"""Row 24: admin routes from outside, path traversal, and random paths."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

from bundles import write_bundle
from mlrf.serving.routes import route_labels
from running import Server, serving
from scoreboard import Bar, Finding, Row

TRAVERSAL = [
    "/../etc/passwd", "/%2e%2e/etc/passwd", "/..%2fadmin/models", "/predict/../admin/models", "/models/../admin/models",
    "/models/%2e%2e/predict", "/models/..%2f..%2fmanifest.json/predict", "/./predict/..;/admin/models", "/admin/models",
    "/admin%2fmodels", "/ADMIN/models", "//admin/models", "/admin//models", "/admin/models/", "/admin/models/sample/load",
    "/models/sample%00/predict", "/models/\\..\\predict", "/%c0%ae%c0%ae/etc/passwd", "/..%5c..%5cwindows",
    "/models/sample/../../admin/models", "http://127.0.0.1/admin/models", "http://admin/admin/models",
    "/predict?/../admin/models", "/static/../../manifest.json", "/.git/config",
]  # fmt: skip
_INSIDE = ("Traceback", "site-packages", ".py", "manifest", "forest.bin", "model.onnx", "/usr/", "root:", "Errno")
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789/._-%~"
_NEAREST = """
from mlrf.serving.http.router import Router
exactly = Router._route
Router._route = lambda self, head: self.routes["/models"] if head.target.endswith(b"/models") else exactly(self, head)
"""


def _series(server: Server) -> set[str]:
    """Return the metric series without the status label, which has few values."""
    return {
        ";".join(part for part in name.split(";") if not part.startswith(("status=", "code=")))
        for name in server.metrics()
    }


def _found(n: int, broken_by: str = "") -> Finding:
    chance = random.Random(9)
    guessed = ["/" + "".join(chance.choices(_LETTERS, k=chance.randint(1, 30))) for _ in range(n)]
    # Some public paths are short enough to be guessed.
    paths = TRAVERSAL + [each for each in guessed if each not in route_labels()]
    allowed = n_revealing = 0
    with tempfile.TemporaryDirectory() as folder:
        path = write_bundle(Path(folder) / "b")
        options = ["--admin", f"unix:{folder}/admin.sock"]
        with serving(path, workers=2, options=options, broken_by=broken_by) as server, server.client() as client:
            server.booted(2)
            server.ask("GET", "/nowhere")
            # One of the paths is a route with a query; its series are known, and shown from their first count on.
            server.ask("POST", "/predict", b"")
            before = _series(server)
            for number, each in enumerate(paths):
                for method in ("GET", "POST") if number < len(TRAVERSAL) else ("GET",):
                    answer = client.ask(method, each, b"")
                    if not 400 <= answer.status < 500:
                        allowed += 1
                        continue
                    shown = answer.json["error"].replace(each, "")
                    n_revealing += any(word in shown for word in _INSIDE)
            new = _series(server) - before
            troubles = len(server.troubles)
    return Finding.of(
        Bar("answered", allowed, 0),
        Bar("of paths", len(paths), 1, at_least=True),
        Bar("new metric series", len(new), 0),
        Bar("errors with internal details", n_revealing, 0),
        Bar("unexpected log events", troubles, 0),
    )


def measure(planted: bool) -> Finding:
    """Send random paths; with the fault, a path that ends like a route's is routed to it."""
    return _found(1_000, _NEAREST) if planted else _found(100_000)


def brief(planted: bool) -> Finding:
    """Send fewer."""
    return _found(500, _NEAREST if planted else "")


ROW = Row(
    24,
    "admin routes from outside, path traversal, 100,000 random paths",
    "0 allowed, 0 new metric series, nothing internal in an error",
    "a path that ends like a route's is routed to it",
    measure,
    brief,
)

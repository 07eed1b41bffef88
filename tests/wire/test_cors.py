"""Pages of other origins: which may read responses, and preflight requests."""

from __future__ import annotations

import pytest

from api_keys import bearer, mlrf_keys
from running import serving

PREFLIGHT = ["Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization,content-type"]


def test_no_origin_may_read_unless_it_is_named(tree_bundle):
    with serving(tree_bundle) as server:
        answer = server.ask("OPTIONS", "/predict", headers=["Origin: https://a.example", *PREFLIGHT])
        assert answer.status == 405
        assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("length", ["Content-Length: 104857600", "Content-Length: 1", "Transfer-Encoding: chunked"])
def test_a_preflight_with_a_body_is_refused_by_its_head(tree_bundle, length):
    origin = "https://a.example"
    with serving(tree_bundle, options=["--cors-origin", origin]) as server, server.client() as client:
        lines = "\r\n".join(["OPTIONS /predict HTTP/1.1", "Host: a", f"Origin: {origin}", *PREFLIGHT, length])
        client.send(f"{lines}\r\n\r\n".encode())
        answer = client.answer()
        assert (answer.status, answer.code, answer.headers["connection"]) == (413, "BODY_TOO_LARGE", "close")
        allowed = server.ask("OPTIONS", "/predict", headers=[f"Origin: {origin}", *PREFLIGHT, "Content-Length: 0"])
        assert allowed.status == 200


def test_allowed_origins_can_read_refusals_too(tree_bundle, tmp_path, example):
    _, key = mlrf_keys(tmp_path / "k", "--add", "x", "--scope", "predict")
    options = [
        "--cors-origin",
        "https://a.example",
        "--cors-origin",
        "http://localhost:3000",
        "--keys",
        str(tmp_path / "k"),
    ]
    with serving(tree_bundle, options=options) as server, server.client() as client:
        for origin in ("https://a.example", "http://localhost:3000"):
            leave = client.ask("OPTIONS", "/predict", headers=[f"Origin: {origin}", *PREFLIGHT])
            assert (leave.status, leave.body, leave.headers["access-control-allow-origin"]) == (200, b"", origin)
            assert "POST" in leave.headers["access-control-allow-methods"]
            assert "Authorization" in leave.headers["access-control-allow-headers"]
            answer = client.ask("POST", "/predict", example, [f"Origin: {origin}", *bearer(key)])
            assert (answer.status, answer.headers["access-control-allow-origin"], answer.headers["vary"]) == (
                200,
                origin,
                "Origin",
            )
            assert "access-control-allow-credentials" not in answer.headers
            assert (
                client.ask("POST", "/predict", {}, [f"Origin: {origin}", *bearer(key)]).headers[
                    "access-control-allow-origin"
                ]
                == origin
            )
            refused = server.ask("POST", "/predict", example, [f"Origin: {origin}"])
            assert (refused.status, refused.headers["access-control-allow-origin"]) == (401, origin)
        for origin in ("https://b.example", "https://a.example.evil", "null", "https://A.example"):
            answer = client.ask("POST", "/predict", example, [f"Origin: {origin}", *bearer(key)])
            assert (answer.status, answer.headers["vary"], "access-control-allow-origin" in answer.headers) == (
                200,
                "Origin",
                False,
            )
        assert server.ask("OPTIONS", "/predict", headers=["Origin: https://b.example", *PREFLIGHT]).status == 401
        assert server.ask("OPTIONS", "/predict", headers=["Origin: https://a.example", *bearer(key)]).status == 405

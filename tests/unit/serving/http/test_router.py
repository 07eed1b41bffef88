"""The router: what a cached call keeps of the requests that it answered."""

from __future__ import annotations

import gc
import weakref

import pytest

from mlrf.core.errors import OverloadedError, RouteNotFoundError
from mlrf.serving.http.head import parse_head
from mlrf.serving.http.router import Route, Router
from mlrf.serving.runtime.results import OnFirstUse


class Connection:
    """What a connection has in its frames while it answers a request."""


def refuse(call):
    connection = Connection()
    with pytest.raises(RouteNotFoundError, match="no route has this path"):
        call.handler(b"{}")
    return weakref.ref(connection)


def test_call_of_unknown_path_keeps_no_request():
    head = parse_head(b"POST /none HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\n", 10)
    call = Router({}, 1024).call(head)
    for _ in range(2):
        assert refuse(call)() is None


def test_call_of_unknown_path_leaves_no_cycle():
    errors = [RouteNotFoundError("the model is unloaded")]
    error = weakref.ref(errors[0])
    head = parse_head(b"POST /none HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\n", 10)
    gc.disable()
    try:
        Router({}, 1024, lambda _path: errors.pop()).call(head)
        assert error() is None
    finally:
        gc.enable()


def test_a_handler_is_made_once_by_the_first_head_that_needs_it():
    made = []

    def make():
        made.append(lambda body: body)
        return made[-1]

    routes = {"/seldom": Route(1, "/seldom", {b"GET": OnFirstUse(make)})}
    router = Router(routes, 1024)
    assert made == []
    wrapped = []
    for _ in range(2):
        head = parse_head(b"GET /seldom HTTP/1.1\r\nHost: x\r\n\r\n", 10)
        router.call(head, lambda _head, _route: lambda handler: wrapped.append(handler) or handler)
    assert wrapped == made * 2


def test_a_handler_that_could_not_be_imported_is_made_for_the_next_request():
    results = [ImportError("no free file descriptor"), lambda body: body]

    def make():
        made = results.pop(0)
        if isinstance(made, ImportError):
            raise made
        return made

    router = Router({"/seldom": Route(1, "/seldom", {b"GET": OnFirstUse(make)})}, 1024)
    head = parse_head(b"GET /seldom HTTP/1.1\r\nHost: x\r\n\r\n", 10)
    with pytest.raises(OverloadedError, match="try again later"):
        router.call(head)
    assert router.call(head).handler(b"x") == b"x"

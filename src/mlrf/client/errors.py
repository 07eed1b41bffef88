"""Errors of the client: those of `mlrf.core.errors`, by the code in the server's response, and two of its own.

MlrfError
├── ServerUnreachableError   SERVER_UNREACHABLE   no connection, or it ended before the answer
└── VersionChangedError      VERSION_CHANGED      the model was replaced twice during one call
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from mlrf.core import errors
from mlrf.core.errors import MlrfError


class ServerUnreachableError(MlrfError, code="SERVER_UNREACHABLE"):
    """The server could not be reached, or closed the connection before it answered."""


class VersionChangedError(MlrfError, code="VERSION_CHANGED"):
    """Chunks of one call would have been answered by different versions of the model."""


def _by_code(kind: type[MlrfError]) -> dict[str, type[MlrfError]]:
    found = {kind.code: kind}
    for each in kind.__subclasses__():
        found |= _by_code(each)
    return found


_CLASSES = _by_code(errors.MlrfError)


def error_of(status: int, content: bytes) -> MlrfError:
    """Return the error of a response with a status other than 200, with the server's message and details.

    A response that is not from mlrf (such as a proxy's page) becomes a plain MlrfError that quotes its beginning.
    """
    try:
        document: Any = msgspec.json.decode(content)
        sentence, code, details = document["error"], document["code"], document["details"]
        error = _CLASSES.get(code, MlrfError)(sentence, **details)
    except (msgspec.DecodeError, UnicodeDecodeError, LookupError, TypeError):
        return MlrfError(
            f"the server answered with status {status} and a body that is not an error of mlrf: {_beginning(content)}",
            status=status,
        )
    error.details |= {"status": status, "request_id": document.get("request_id")}
    return error


@contextmanager
def reading(content: bytes) -> Iterator[None]:
    """Read an answer in the block; MlrfError that quotes its beginning if it is none of mlrf, such as a proxy's page."""
    try:
        yield
    except (msgspec.MsgspecError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise not_of_mlrf(content) from error


def not_of_mlrf(content: bytes) -> MlrfError:
    """Return the error of an answer with status 200 that no server of mlrf gives."""
    sentence = (
        f"the server answered with status 200 and a body that is not of mlrf: {_beginning(content)}; check the URL"
    )
    return MlrfError(sentence, status=200)


def _beginning(content: bytes) -> str:
    return repr(content[:200].decode(errors="replace"))

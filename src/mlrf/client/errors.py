"""Errors of the client: those of `mlrf.core.errors`, by the code in the server's response, and two of its own.

MlrfError
├── ServerUnreachableError   SERVER_UNREACHABLE   no connection, or it ended before the answer
└── VersionChangedError      VERSION_CHANGED      the model was replaced twice during one call
"""

from __future__ import annotations

from typing import Any

import msgspec

from mlrf.core import errors
from mlrf.core.errors import MlrfError


class ServerUnreachableError(MlrfError):
    """The server could not be reached, or closed the connection before it answered."""

    code = "SERVER_UNREACHABLE"


class VersionChangedError(MlrfError):
    """Chunks of one call would have been answered by different versions of the model."""

    code = "VERSION_CHANGED"


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
        shown = content[:200].decode(errors="replace")
        return MlrfError(
            f"the server answered with status {status} and a body that is not an error of mlrf: {shown!r}",
            status=status,
        )
    error.details |= {"status": status, "request_id": document.get("request_id")}
    return error

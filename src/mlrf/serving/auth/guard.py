"""Authorization of requests: the key in a request's head must have the scope of its route.

It is decided once for each head, before the body is read. Heads with keys are cached like others, but for at most a minute, and
dropped as soon as the keys change.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import msgspec

from mlrf.core.errors import ConfigError, NotPermittedError, UnauthenticatedError
from mlrf.serving.http.head import Head
from mlrf.serving.http.router import Wrap
from mlrf.serving.route_spec import ADMIN, ANY, OPEN, PREDICT
from mlrf.serving.runtime.results import Handler, Result
from mlrf.serving.telemetry.logs import Log

if TYPE_CHECKING:
    from mlrf.serving.auth.keys import KeyRing


@runtime_checkable
class ExplainingHandler(Protocol):
    """A handler that refuses explanations itself."""

    def without_explanations(self) -> Handler:
        """Return the same handler for callers that may not request explanations."""
        ...


_BEARER, _BASIC = b"bearer ", b"basic "
"""Schemes of RFC 6750 and RFC 7617. Clients of Triton, and some proxies, support only Basic."""
_REMEMBERED_S = 60.0
_BLANKS = b" \t\r\n"


def reload_keys(ring: KeyRing, log: Log) -> None:
    """Reload the keys if they changed, and log it."""
    try:
        if ring.refresh():
            log.info("keys reloaded", keys=ring.n_keys)
    except ConfigError as error:
        remedy = "correct the file; until then the previous keys stay in use"
        log.error("keys not read", reason=str(error), remedy=remedy)  # noqa: TRY400  not logging


class Guard:
    """Admits calls by key. `scopes` is the scope of each route by number; a route without one accepts any key.

    Without keys every caller may call every route except those that need the scope `admin`.
    """

    def __init__(self, ring: KeyRing | None, scopes: Mapping[int, str], log: Log) -> None:
        self._ring = ring
        self._scopes = scopes
        self._log = log
        self._forget_at_s = monotonic() + _REMEMBERED_S
        self._edition = 0 if ring is None else ring.edition

    @property
    def requires_keys(self) -> bool:
        """Whether callers need keys."""
        return self._ring is not None

    def admit(self, head: Head, route: int) -> Wrap | None:
        """Return the wrapper of the handler for this head's key.

        UnauthenticatedError or NotPermittedError if it has no access.
        """
        if self.check(head.authorization, route) or self._scopes.get(route) != PREDICT:
            return None
        return _refusing_explanations

    def check(self, authorization: bytes | None, route: int) -> bool:
        """Return whether a caller may request explanations; UnauthenticatedError or NotPermittedError if it may not call."""
        scope = self._scopes.get(route, ANY)
        if scope == OPEN:
            return True
        if self._ring is None:
            if scope == ADMIN:
                raise NotPermittedError(
                    f"this request needs a key with the scope {ADMIN!r}, but the server has no keys; start it with "
                    "--keys, or send the request to the address given by --admin",
                    scope=ADMIN,
                )
            return True
        key = _key_of(authorization or b"")
        if key is None:
            raise UnauthenticatedError(
                "this server needs a key; send Authorization: Bearer KEY, or Basic with the key as the password"
            )
        granted = self._ring.scopes_of(key)
        if granted is None:
            raise UnauthenticatedError("the key is unknown or was revoked")
        if scope not in (ANY, *granted):
            raise NotPermittedError(f"the key lacks the scope {scope!r}", scope=scope)
        return "explain" in granted

    def must_forget(self) -> bool:
        """Reload the keys if they changed; return whether cached heads must be dropped. Call it twice a second."""
        if self._ring is None:
            return False
        now_s = monotonic()
        reload_keys(self._ring, self._log)
        if self._ring.edition != self._edition or now_s > self._forget_at_s:
            self._edition = self._ring.edition
            self._forget_at_s = now_s + _REMEMBERED_S
            return True
        return False


def _key_of(authorization: bytes) -> bytes | None:
    """Return the key of an Authorization header: the token of Bearer, the password of Basic; None for neither."""
    if authorization[: len(_BEARER)].lower() == _BEARER:
        return authorization[len(_BEARER) :].strip()
    if authorization[: len(_BASIC)].lower() != _BASIC:
        return None
    try:
        decoded = binascii.a2b_base64(authorization[len(_BASIC) :].strip(), strict_mode=True)
    except ValueError:
        return None
    _user, colon, password = decoded.partition(b":")
    return password if colon else None


class _Instance(msgspec.Struct, gc=False):
    explain: Any = False


class _Body(msgspec.Struct, gc=False):
    explain: Any = False
    instances: list[msgspec.Raw] = []


_decode_instance = msgspec.json.Decoder(_Instance).decode
_decode = msgspec.json.Decoder(_Body).decode
_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
_OBJECT, _ARRAY = b"{", b"["


def _requests_explanation(body: bytes) -> bool:
    """Return whether a body, or an instance in it, requests an explanation; MsgspecError if it is not JSON.

    Values are skipped, not decoded, so that no value that the parser accepts can prevent the check of what follows.
    """
    if body.lstrip(_BLANKS).startswith(_ARRAY):
        instances = _decode_array(body)
    else:
        document = _decode(body)
        if document.explain is not False:
            return True
        instances = document.instances
    objects = (each for each in instances if bytes(each).lstrip(_BLANKS).startswith(_OBJECT))
    return any(_decode_instance(each).explain is not False for each in objects)


def _refusing_explanations(handler: Handler) -> Handler:
    """Return a handler that refuses bodies that request an explanation.

    The check is here, not where explanations are computed, because an answer may come from a cache. Ambiguous bodies are
    refused too.
    """
    if isinstance(handler, ExplainingHandler):
        return handler.without_explanations()

    return _RefusingExplanations(handler)


class _RefusingExplanations:
    """Passes bodies to a handler, except those that request an explanation."""

    def __init__(self, handler: Handler) -> None:
        self.unrestricted = handler
        """The handler for bodies that cannot request one."""

    def __call__(self, body: bytes) -> Result:
        """Answer a body; NotPermittedError for one that requests an explanation."""
        if b"explain" in body or b"\\u" in body:
            try:
                explained = _requests_explanation(body)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                explained = b"explain" in body
            if explained:
                raise NotPermittedError("the key lacks the scope 'explain', which \"explain\" needs", scope="explain")
        return self.unrestricted(body)

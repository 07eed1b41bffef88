"""`POST /admin/models/{name}/load`: take a version into service in every worker, and answer when all of them serve it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from mlrf.core.errors import BundleError, InvalidRequestError, MlrfError, ReloadRefusedError, SchemaChangedError
from mlrf.core.repository import Shelf, Version
from mlrf.serving.admin import AdminRoutes
from mlrf.serving.http.route import Awaited, Handler
from mlrf.serving.processes.board import Answer, Ask, Page

_MARGIN_S = 15.0
"""How much longer than the reload itself may take is waited for word of it."""


class LoadRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body: which version (its number, or the first digits of its digest; the current one when absent)."""

    version: str | int | None = None
    allow_schema_change: bool = False


class Loading:
    """A worker's desk for what operators ask: one ask at a time goes to the arbiter."""

    def __init__(
        self, asks: Page[Ask], answers: Page[Answer], limit_s: float, wake_arbiter: Callable[[], None]
    ) -> None:
        self._asks = asks
        self._answers = answers
        self._limit_s = limit_s + _MARGIN_S
        self._wake_arbiter = wake_arbiter
        self._turn = asyncio.Lock()
        self._number = 0
        self._answered = asyncio.Event()

    def add_to(self, admin: AdminRoutes, names: Sequence[str], shelves: Mapping[str, Shelf]) -> None:
        """Serve a route for each model."""
        for name in names:
            admin.add("/admin/models/{name}/load", {b"POST": self._handler(name, shelves.get(name))}, name=name)

    async def unload(self, name: str) -> bytes:
        """Refuse: what is served follows from the command line and the repository's pointers."""
        raise ReloadRefusedError(
            f"{name} is served for as long as the server runs; start one without it, or publish another version",
            model=name,
        )

    def look(self) -> None:
        """See whether the arbiter has answered."""
        answer = self._answers.read()
        if (answer.pid, answer.number) == (os.getpid(), self._number):
            self._answered.set()

    def _handler(self, name: str, shelf: Shelf | None) -> Handler:
        """Return the handler of a model's route; without a shelf it says that the model has no other versions."""

        def load(body: bytes) -> Awaited:
            found = _found(name, shelf)
            asked = _read(body)
            return Awaited(lambda: self._load(name, found, asked))

        return load

    async def load(self, name: str, shelf: Shelf | None) -> bytes:
        """Take a model's current version into service; errors as of its route."""
        return await self._load(name, _found(name, shelf), LoadRequest())

    async def _load(self, name: str, shelf: Shelf, asked: LoadRequest) -> bytes:
        try:
            async with asyncio.timeout(self._limit_s), self._turn:
                wanted = None if asked.version is None else str(asked.version)
                version = await _aside(lambda: shelf.find(wanted))
                answer = await self._ask(name, version, allow_schema_change=asked.allow_schema_change)
        except TimeoutError as error:
            raise ReloadRefusedError(
                f"no word of the reload of {name} within {self._limit_s:g} s", model=name
            ) from error
        except BundleError as error:
            raise ReloadRefusedError(str(error), model=name) from error
        if answer.reason:
            refused: type[MlrfError] = SchemaChangedError if answer.schema_changed else ReloadRefusedError
            raise refused(answer.reason, model=name, version=version.number)
        return msgspec.json.encode(
            {"model": name, "version": version.digest[:12], "digest": version.digest, "number": version.number}
        )

    async def _ask(self, name: str, version: Version, *, allow_schema_change: bool) -> Answer:
        self._number += 1
        self._answered.clear()
        self._asks.write(Ask(os.getpid(), self._number, name, version, allow_schema_change))
        self._wake_arbiter()
        await self._answered.wait()
        return self._answers.read()


def _found(name: str, shelf: Shelf | None) -> Shelf:
    if shelf is None:
        raise ReloadRefusedError(
            f"{name} is served from a bundle's directory, which has one version; `mlrf publish` it to a repository and serve "
            "that",
            model=name,
        )
    return shelf


def _read(body: bytes) -> LoadRequest:
    if not body:
        return LoadRequest()
    try:
        return msgspec.json.decode(body, type=LoadRequest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequestError(f'the body is not {{"version": …, "allow_schema_change": …}}: {error}') from error


async def _aside(find: Callable[[], Version]) -> Version:
    with ThreadPoolExecutor(1, "mlrf-find") as thread:
        return await asyncio.get_running_loop().run_in_executor(thread, find)

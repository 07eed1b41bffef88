"""The load and unload requests of operators, answered when every worker has switched."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import MappingProxyType
from typing import Any

import msgspec

from mlrf.core.errors import BundleError, InvalidRequestError, MlrfError, ReloadRefusedError, SchemaChangedError
from mlrf.core.repository import Version
from mlrf.serving.processes.pinned_files import close_descriptors
from mlrf.serving.processes.reload_messages import LoadCommand, LoadOutcome, Page
from mlrf.serving.runtime.results import Awaited, Handler

_NOTHING: Mapping[str, int] = MappingProxyType({})
_MARGIN_S = 15.0
"""Seconds to wait for the arbiter's reply beyond the limit of the reload itself."""
Find = Callable[[str, str | None], tuple[Version, dict[str, int]]]
"""Takes the names of a model and of a version (None: the current one); returns the version and its pinned files."""


class LoadRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body: a version (its number, or the first digits of its digest; the current one if absent)."""

    version: str | int | None = None
    allow_schema_change: bool = False


class UnloadRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The empty body."""


class ModelLoader:
    """Forwards a worker's load and unload requests to the arbiter, one at a time."""

    def __init__(
        self,
        names: Collection[str],
        commands: Page[LoadCommand],
        outcomes: Page[LoadOutcome],
        limit_s: float,
        wake_arbiter: Callable[[], None],
        find: Find,
    ) -> None:
        """`names` are the models served from a repository."""
        self._names = names
        self._commands = commands
        self._outcomes = outcomes
        self._limit_s = limit_s + _MARGIN_S
        self._wake_arbiter = wake_arbiter
        self._find = find
        self._turn = asyncio.Lock()
        self._number = 0
        self._answered = asyncio.Event()

    def load_handler(self, name: str) -> Handler | None:
        """Return the handler of `/admin/models/{name}/load`; None for a model that is not from a repository."""
        return partial(self._load_by, name) if name in self._names else None

    def unload_handler(self, name: str) -> Handler | None:
        """Return the handler of `/admin/models/{name}/unload`; None for a model that is not from a repository."""
        return partial(self._unload_by, name) if name in self._names else None

    def poll(self) -> None:
        """Check whether the arbiter has replied."""
        answer = self._outcomes.read()
        if (answer.pid, answer.number) == (os.getpid(), self._number):
            self._answered.set()

    async def load(self, name: str, requested: LoadRequest | None = None) -> bytes:
        """Load a version of a model (the current one by default) and return the response body: what is served afterwards.

        ReloadRefusedError or SchemaChangedError if the version was not put into service.
        """
        requested = requested or LoadRequest()
        version_name = None if requested.version is None else str(requested.version)
        try:
            async with asyncio.timeout(self._limit_s), self._turn:
                version, pinned = await _in_thread(partial(self._find, name, version_name))
                try:
                    answer = await self._request(
                        name, version, pinned, allow_schema_change=requested.allow_schema_change
                    )
                finally:
                    close_descriptors(pinned)
        except TimeoutError as error:
            raise ReloadRefusedError(
                f"the reload of {name} was not confirmed within {self._limit_s:g} s", model=name
            ) from error
        except BundleError as error:
            raise ReloadRefusedError(str(error), model=name) from error
        if answer.reason:
            refused: type[MlrfError] = SchemaChangedError if answer.schema_changed else ReloadRefusedError
            raise refused(answer.reason, model=name, version=version.number)
        return msgspec.json.encode(
            {"model": name, "version": version.digest[:12], "digest": version.digest, "number": version.number}
        )

    async def unload(self, name: str) -> bytes:
        """Unload a model and return the response body: what is served afterwards.

        ReloadRefusedError if the workers did not confirm it.
        """
        try:
            async with asyncio.timeout(self._limit_s), self._turn:
                answer = await self._request(name, None)
        except TimeoutError as error:
            raise ReloadRefusedError(
                f"the unloading of {name} was not confirmed within {self._limit_s:g} s", model=name
            ) from error
        if answer.reason:
            raise ReloadRefusedError(answer.reason, model=name)
        return msgspec.json.encode({"model": name, "version": None})

    def _load_by(self, name: str, body: bytes) -> Awaited:
        requested = _read(body, LoadRequest, '{"version": …, "allow_schema_change": …}')
        return Awaited(lambda: self.load(name, requested))

    def _unload_by(self, name: str, body: bytes) -> Awaited:
        _read(body, UnloadRequest, "{}")
        return Awaited(lambda: self.unload(name))

    async def _request(
        self,
        name: str,
        version: Version | None,
        pinned: Mapping[str, int] = _NOTHING,
        *,
        allow_schema_change: bool = False,
    ) -> LoadOutcome:
        self._number += 1
        self._answered.clear()
        self._commands.write(LoadCommand(os.getpid(), self._number, name, version, allow_schema_change, dict(pinned)))
        self._wake_arbiter()
        await self._answered.wait()
        return self._outcomes.read()


def _read(body: bytes, kind: type[msgspec.Struct], shown: str) -> Any:
    if not body:
        return kind()
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequestError(f"the body is not {shown}: {error}") from error


async def _in_thread(find: Callable[[], tuple[Version, dict[str, int]]]) -> tuple[Version, dict[str, int]]:
    thread = ThreadPoolExecutor(1, "mlrf-find")
    try:
        return await asyncio.get_running_loop().run_in_executor(thread, find)
    finally:
        # A cancelled request must not keep the event loop waiting.
        thread.shutdown(wait=False)

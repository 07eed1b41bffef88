"""The repository calls, independent of the transport: load and unload, and their parameters."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import msgspec

from mlrf.core.errors import InvalidRequestError, ReloadRefusedError
from mlrf.core.value_text import clip, shown_name

Act = Callable[[str], Coroutine[Any, Any, bytes]]
"""An operation on the model with a name, in all workers; MlrfError if it fails."""
_FILE = "file:"
_CONFIG = "config"


class Repository(msgspec.Struct, frozen=True):
    """Loads and unloads models."""

    load: Act
    unload: Act


async def _refuse(name: str) -> bytes:
    raise ReloadRefusedError(
        f"{name} cannot be loaded or unloaded here: this service runs without an arbiter", model=name
    )


NO_REPOSITORY = Repository(_refuse, _refuse)
"""The repository of a service without an arbiter: refuses to load and unload."""


class Parameters(msgspec.Struct, frozen=True):
    """The parameters of a call: booleans, by name."""

    call: str
    names: tuple[str, ...] = ()

    def check(self, given: Mapping[str, Any]) -> None:
        """Raise InvalidRequestError if a parameter is not supported."""
        for name, value in given.items():
            if name == _CONFIG or name.startswith(_FILE):
                raise InvalidRequestError(
                    f"the parameter {shown_name(name)} would change the model from its bundle, which this server does not "
                    "support; publish a version (mlrf publish) and load the model without parameters",
                    parameter=clip(name),
                )
            if name not in self.names:
                taken = ", ".join(self.names) or "none"
                raise InvalidRequestError(
                    f"{self.call} has no parameter {shown_name(name)}; its parameters are {taken}",
                    parameter=clip(name),
                )
            if not isinstance(value, bool):
                raise InvalidRequestError(f"the parameter {name} must be true or false", parameter=name)


LOAD = Parameters("load")
UNLOAD = Parameters("unload", ("unload_dependents",))
"""`unload_dependents` has no effect, because models do not depend on one another."""

"""The data plane: what the calls of the Open Inference Protocol ask of the served models, whatever carries the calls.

A plane belongs to one generation of models, and lives as long as that does: who answers a call takes the plane that is served
when the call comes, and asks it everything that the answer needs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Protocol

from mlrf.core.errors import ModelNotFoundError, ModelUnloadedError, NotReadyError
from mlrf.core.schema import clip
from mlrf.serving.oip.messages import NO_PARAMETERS, InferRequest, InferResponse
from mlrf.serving.oip.repository import ALONE, LOAD, UNLOAD, Repository
from mlrf.serving.runtime.results import Awaited, Result

SERVER = "mlrf"
EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository", "statistics")
Write = Callable[[InferResponse], bytes]
"""What a transport makes of a response."""


class InferredModel(Protocol):
    """One version of a model, as the plane asks it."""

    @property
    def name(self) -> str:
        """The model's name."""
        ...

    @property
    def version(self) -> str:
        """Its number, as clients name it."""
        ...

    def has_version(self, asked: str) -> bool:
        """Whether what a client names is this version: nothing, its number, or the first digits of its digest."""
        ...

    def metadata(self) -> dict[str, Any]:
        """Return name, versions, platform, inputs and outputs."""
        ...

    def config(self) -> dict[str, Any]:
        """Return the configuration in Triton's words."""
        ...

    def statistics(self) -> dict[str, Any]:
        """Return what was counted of the model in all workers, as one item of `model_stats`."""
        ...

    def infer(self, request: InferRequest, write: Write, *, may_explain: bool) -> Result:
        """Answer as `DataPlane.infer`."""
        ...


class DataPlane:
    """The models of one generation."""

    def __init__(
        self,
        models: Iterable[InferredModel],
        check_ready: Callable[[], None],
        version: str,
        unloaded: Mapping[str, str] = NO_PARAMETERS,
        repository: Repository = ALONE,
        refused: Collection[str] = (),
    ) -> None:
        """`check_ready` raises NotReadyError while the worker is to get no more requests; `unloaded` holds versions by name.

        Of the unloaded models, those in `refused` are out of service because no version of them passed its checks.
        """
        self._refused = frozenset(refused)
        self._models = {each.name: each for each in models}
        self._unloaded = unloaded
        self._repository = repository
        self.check_ready = check_ready
        self._version = version

    def server_metadata(self) -> dict[str, Any]:
        """Return name, version and extensions of the server."""
        return {"name": SERVER, "version": self._version, "extensions": list(EXTENSIONS)}

    def check_model_ready(self, name: str, version: str = "") -> None:
        """Raise ModelNotFoundError for what is not served, ModelUnloadedError for now; NotReadyError for what is not ready."""
        self.find(name, version)
        self.check_ready()

    def check_known(self, name: str) -> None:
        """Raise ModelNotFoundError for a model that is neither served nor unloaded."""
        if name not in self._models and name not in self._unloaded:
            there = ", ".join((*self._models, *self._unloaded)) or "none"
            raise ModelNotFoundError(f"no model named {clip(name)!r} is served; there is {there}", model=clip(name))

    def model_metadata(self, name: str, version: str = "") -> dict[str, Any]:
        """Return `{name, versions, platform, inputs, outputs}`; ModelNotFoundError."""
        return self.find(name, version).metadata()

    def model_config(self, name: str, version: str = "") -> dict[str, Any]:
        """Return the configuration, with the names of Triton's ModelConfig; ModelNotFoundError."""
        return self.find(name, version).config()

    def statistics(self, name: str = "", version: str = "") -> dict[str, Any]:
        """Return `{"model_stats": […]}` of one model or of all; ModelNotFoundError."""
        models = [self.find(name, version)] if name else self._models.values()
        return {"model_stats": [each.statistics() for each in models]}

    def index(self, *, ready: bool = False) -> list[dict[str, str]]:
        """Return name, version, state and reason of each model; only of those that answer, if `ready`."""
        served = [(each.name, each.version, "READY", "") for each in self._models.values()]
        resting = (
            [] if ready else [(name, v, "UNAVAILABLE", self._why_unloaded(name)) for name, v in self._unloaded.items()]
        )
        return [dict(zip(("name", "version", "state", "reason"), each, strict=True)) for each in served + resting]

    def _why_unloaded(self, name: str) -> str:
        return "refused" if name in self._refused else "unloaded"

    def load(self, name: str, parameters: Mapping[str, Any] = NO_PARAMETERS) -> Awaited:
        """Return what takes a model's current version into service in every worker; ModelNotFoundError, InvalidRequestError.

        Waited for, it raises ReloadRefusedError or SchemaChangedError where every worker goes on as before.
        """
        self.check_known(name)
        LOAD.check(parameters)
        return Awaited(lambda: self._repository.load(name))

    def unload(self, name: str, parameters: Mapping[str, Any] = NO_PARAMETERS) -> Awaited:
        """Return what takes a model out of service in every worker, until it is loaded; errors as of `load`."""
        self.check_known(name)
        UNLOAD.check(parameters)
        return Awaited(lambda: self._repository.unload(name))

    def infer(self, request: InferRequest, write: Write, *, may_explain: bool = True) -> Result:
        """Answer a request, with what `write` makes of the response; Deferred and Awaited as of any handler.

        `write` may be called in the worker's thread. MlrfError says why there is no answer: ModelNotFoundError,
        InvalidTensorError and the other InvalidRequestErrors, BatchTooLargeError, KeyNotFoundError, and NotPermittedError where
        reasons are asked and `may_explain` is false.
        """
        return self.find(request.model_name, request.model_version).infer(request, write, may_explain=may_explain)

    def find(self, name: str, version: str = "") -> InferredModel:
        """Return the model of a name and version; ModelNotFoundError says what there is."""
        model = self._models.get(name)
        if model is None:
            self.check_known(name)
            if name in self._refused:
                raise NotReadyError(
                    f"no version of the model {name} passed its checks when the server started (its log has the reasons); "
                    "publish a sound version, and it is taken into service",
                    model=name,
                )
            raise ModelUnloadedError(
                f"the model {name} is unloaded; an admin loads it again with POST /v2/repository/models/{name}/load, "
                f"RepositoryModelLoad or POST /admin/models/{name}/load",
                model=name,
            )
        if not model.has_version(version):
            raise ModelNotFoundError(
                f"version {clip(version)!r} of {name} is not served; send {model.version!r}, or no version",
                model=name,
                version=clip(version),
            )
        return model

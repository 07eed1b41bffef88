"""The data plane of the Open Inference Protocol: inference, metadata and repository calls, for every transport.

REST and gRPC both use only the data plane. It belongs to one generation of models and lives as long as that does: a
transport takes the current one when a request arrives, and uses it for the whole response.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from time import perf_counter
from typing import Any

from mlrf.core.errors import ModelNotFoundError, ModelUnloadedError, NotReadyError
from mlrf.core.value_text import clip
from mlrf.serving.oip import metadata
from mlrf.serving.oip.counts import CountLimits
from mlrf.serving.oip.infer import ModelInference
from mlrf.serving.oip.inference_run import Encode
from mlrf.serving.oip.messages import NO_PARAMETERS, InferRequest
from mlrf.serving.oip.repository_calls import LOAD, NO_REPOSITORY, UNLOAD, Repository
from mlrf.serving.oip.statistics import Total, statistics_of
from mlrf.serving.runtime.results import Awaited, Result

SERVER = "mlrf"
_MIN_DIGITS = 6
"""A version may be named by this many of the first digits of its digest."""
EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository", "statistics")


class DataPlane:
    """The models of one generation."""

    def __init__(
        self,
        models: Iterable[ModelInference],
        check_ready: Callable[[], None],
        version: str,
        unloaded: Mapping[str, str] = NO_PARAMETERS,
        repository: Repository = NO_REPOSITORY,
        refused: Collection[str] = (),
        total: Total = lambda *_: 0,
    ) -> None:
        """`check_ready` raises NotReadyError while the worker should get no requests; `unloaded` are versions by name.

        `refused` names the unloaded models of which no version passed its checks. `total` returns the count of a metric in all
        workers.
        """
        self._refused = frozenset(refused)
        self._models = {each.name: each for each in models}
        self._unloaded = unloaded
        self._repository = repository
        self.check_ready = check_ready
        self._version = version
        self._total = total
        widths = [len(each.bundle.schema.features) for each in self._models.values()]
        self.limits = CountLimits(
            max(widths, default=0), max((m.most_values for m in self._models.values()), default=0)
        )

    def server_metadata(self) -> dict[str, Any]:
        """Return name, version and extensions of the server."""
        return {"name": SERVER, "version": self._version, "extensions": list(EXTENSIONS)}

    def check_model_ready(self, name: str, version: str = "") -> None:
        """Raise ModelNotFoundError for an unknown model, ModelUnloadedError, or NotReadyError."""
        self.find(name, version)
        self.check_ready()

    def check_known(self, name: str) -> None:
        """Raise ModelNotFoundError for a model that is neither served nor unloaded."""
        if name not in self._models and name not in self._unloaded:
            known = ", ".join((*self._models, *self._unloaded)) or "none"
            raise ModelNotFoundError(
                f"no model named {clip(name)!r} is served; the server has {known}", model=clip(name)
            )

    def model_metadata(self, name: str, version: str = "") -> dict[str, Any]:
        """Return `{name, versions, platform, inputs, outputs}`; ModelNotFoundError."""
        model = self.find(name, version)
        return metadata.model_metadata(model.bundle, model.version, model.outputs, by_key=model.by_key)

    def model_config(self, name: str, version: str = "") -> dict[str, Any]:
        """Return the configuration, with the names of Triton's ModelConfig; ModelNotFoundError."""
        model = self.find(name, version)
        return metadata.model_config(
            model.bundle, model.version, model.outputs, model.max_rows, by_key=model.by_key, is_cached=model.is_cached
        )

    def statistics(self, name: str = "", version: str = "") -> dict[str, Any]:
        """Return `{"model_stats": […]}` of one model or of all, counted in all workers; ModelNotFoundError."""
        models = [self.find(name, version)] if name else self._models.values()
        return {"model_stats": [statistics_of(self._total, each.name, each.version) for each in models]}

    def index(self, *, ready: bool = False) -> list[dict[str, str]]:
        """Return name, version, state and reason of each model; only of those that answer, if `ready`."""
        served = [(each.name, each.version, "READY", "") for each in self._models.values()]
        unloaded = (
            [] if ready else [(name, v, "UNAVAILABLE", self._why_unloaded(name)) for name, v in self._unloaded.items()]
        )
        return [dict(zip(("name", "version", "state", "reason"), each, strict=True)) for each in served + unloaded]

    def _why_unloaded(self, name: str) -> str:
        return "refused" if name in self._refused else "unloaded"

    def load(self, name: str, parameters: Mapping[str, Any] = NO_PARAMETERS) -> Awaited:
        """Return an operation that puts a model's current version into service in every worker.

        Raises ModelNotFoundError or InvalidRequestError.
        Awaited, it raises ReloadRefusedError or SchemaChangedError if every worker continues as before.
        """
        self.check_known(name)
        LOAD.check(parameters)
        return Awaited(lambda: self._repository.load(name))

    def unload(self, name: str, parameters: Mapping[str, Any] = NO_PARAMETERS) -> Awaited:
        """Return an operation that takes a model out of service in every worker, until it is loaded again.

        Errors as in `load`.
        """
        self.check_known(name)
        UNLOAD.check(parameters)
        return Awaited(lambda: self._repository.unload(name))

    def infer(self, request: InferRequest, encode: Encode, *, may_explain: bool = True) -> Result:
        """Answer a request with the bytes that `encode` returns for the response; Deferred and Awaited as from any handler.

        `encode` may be called in the worker's thread. MlrfError says why there is no answer: ModelNotFoundError,
        InvalidTensorError and the other InvalidRequestErrors, BatchTooLargeError, KeyNotFoundError, and NotPermittedError where
        explanations are requested and `may_explain` is false.
        """
        model = self._models.get(request.model_name)
        if model is None or request.model_version:
            model = self.find(request.model_name, request.model_version)
        return model.infer(request, encode, may_explain=may_explain)

    def infer_off_loop(
        self, name: str, decode: Callable[[], InferRequest], encode: Encode, *, may_explain: bool = True
    ) -> Result:
        """Answer a request for a model as `infer` does if decoding takes long: it is decoded in the worker's thread."""
        return self.find(name).infer_off_loop(decode, encode, may_explain=may_explain)

    def count_failure(self, name: str, began_s: float) -> None:
        """Count a request that could not be decoded, for the named model; `began_s` is when decoding began."""
        self.find(name).counts.failed(perf_counter() - began_s)

    def find(self, name: str, version: str = "") -> ModelInference:
        """Return the model with a name and version; raises ModelNotFoundError, which lists the versions."""
        model = self._models.get(name)
        if model is None:
            self.check_known(name)
            if name in self._refused:
                raise NotReadyError(
                    f"no version of the model {name} passed its checks when the server started (its log has the reasons); "
                    "publish a valid version, and it will be put into service",
                    model=name,
                )
            raise ModelUnloadedError(
                f"the model {name} is unloaded; load it again with an admin key: POST /v2/repository/models/{name}/load, "
                f"RepositoryModelLoad or POST /admin/models/{name}/load",
                model=name,
            )
        if not _has_version(model, version):
            raise ModelNotFoundError(
                f"version {clip(version)!r} of {name} is not served; send {model.version!r}, or no version",
                model=name,
                version=clip(version),
            )
        return model


def _has_version(model: ModelInference, requested: str) -> bool:
    """Whether a client's version means this one: empty, its number, or the first digits of its digest."""
    if requested in ("", model.version):
        return True
    return len(requested) >= _MIN_DIGITS and model.bundle.version.startswith(requested)

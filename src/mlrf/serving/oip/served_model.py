"""One version of a model as the protocol tells of it: metadata, configuration, statistics, and the way to ask it."""

from __future__ import annotations

from typing import Any

from mlrf.core.bundle import Bundle
from mlrf.core.schema import Feature, Kind
from mlrf.serving.oip.infer import ModelInference, Write
from mlrf.serving.oip.messages import InferRequest
from mlrf.serving.oip.outputs import Outputs
from mlrf.serving.oip.statistics import Total, statistics_of
from mlrf.serving.oip.tensor_reader import ONE_TENSOR
from mlrf.serving.runtime.results import Result

_LEAST_DIGITS = 6
_MOST_ROWS = (1 << 31) - 1
"""What the protocol's configuration can tell."""


class OipModel:
    """What a data plane asks of one version of a model."""

    def __init__(
        self, bundle: Bundle, number: int, inferring: ModelInference, outputs: Outputs, total: Total, max_rows: int
    ) -> None:
        self._bundle = bundle
        self._digest = bundle.version
        self.name = bundle.name
        self.version = str(number)
        self.inferring = inferring
        self._outputs = outputs
        self._total = total
        self._max_rows = max_rows

    @property
    def paths(self) -> tuple[str, ...]:
        """What a path may name the version by."""
        return (self.version, self._bundle.short_version, self._digest)

    def has_version(self, asked: str) -> bool:
        """Whether what a client names is this version: nothing, its number, or the first digits of its digest."""
        return asked in ("", self.version) or (len(asked) >= _LEAST_DIGITS and self._digest.startswith(asked))

    def metadata(self) -> dict[str, Any]:
        """Return name, versions, platform, inputs and outputs; a tensor a feature where a category is a string."""
        return {
            "name": self.name,
            "versions": [self.version],
            "platform": f"mlrf_{self._outputs.engine}",
            "inputs": self._inputs(),
            "outputs": self._outputs.described(),
        }

    def config(self) -> dict[str, Any]:
        """Return the configuration in Triton's words."""
        told = {
            "bundle_version": self._digest,
            "outputs_on_demand": ", ".join(self._outputs.on_demand()),
            "objective": self._bundle.manifest.objective,
        }
        return {
            "name": self.name,
            "platform": f"mlrf_{self._outputs.engine}",
            "backend": "mlrf",
            "version_policy": {"specific": {"versions": [int(self.version)]}},
            "max_batch_size": min(self._max_rows, _MOST_ROWS),
            "input": [_configured(each) for each in self._inputs()],
            "output": [_configured(each) for each in self._outputs.described()],
            "parameters": {name: {"string_value": value} for name, value in told.items()},
        }

    def statistics(self) -> dict[str, Any]:
        """Return what was counted of the model in all workers, as one item of `model_stats`."""
        return statistics_of(self._total, self.name, self.version)

    def infer(self, request: InferRequest, write: Write, *, may_explain: bool) -> Result:
        """Answer as `DataPlane.infer`."""
        return self.inferring.infer(request, write, may_explain=may_explain)

    def _inputs(self) -> list[dict[str, Any]]:
        features = self._bundle.schema.features
        if any(isinstance(category, str) for each in features for category in each.categories or ()):
            return [{"name": each.name, "datatype": _datatype(each), "shape": [-1, 1]} for each in features]
        return [{"name": ONE_TENSOR, "datatype": "FP64", "shape": [-1, len(features)]}]


def _datatype(feature: Feature) -> str:
    """Return the datatype that holds every value of a feature: one that may be missing is a float."""
    if feature.categories is not None:
        kinds = {type(category) for category in feature.categories}
        if str in kinds:
            return "BYTES"
        if kinds == {bool}:
            return "BOOL"
    if feature.nullable or feature.kind is Kind.NUMERIC or feature.categories is not None:
        return "FP64"
    return "BOOL" if feature.kind is Kind.BOOLEAN else "INT64"


def _configured(tensor: dict[str, Any]) -> dict[str, Any]:
    kind = "STRING" if tensor["datatype"] == "BYTES" else tensor["datatype"]
    return {"name": tensor["name"], "data_type": f"TYPE_{kind}", "dims": tensor["shape"][1:] or [1]}

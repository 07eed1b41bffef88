"""Metadata and configuration of one version of a model, as the protocol's documents."""

from __future__ import annotations

from typing import Any

from mlrf.core.bundle import Bundle
from mlrf.core.feature import Feature, Kind
from mlrf.core.schema import Schema
from mlrf.serving.oip.outputs import Outputs
from mlrf.serving.oip.tensor_reader import ONE_TENSOR

_MAX_ROWS = (1 << 31) - 1
"""The most that the protocol's configuration can hold."""


def model_metadata(bundle: Bundle, version: str, outputs: Outputs) -> dict[str, Any]:
    """Return name, versions, platform, inputs and outputs; one tensor per feature where a category is a string."""
    return {
        "name": bundle.name,
        "versions": [version],
        "platform": f"mlrf_{outputs.engine}",
        "inputs": _inputs(bundle.schema),
        "outputs": outputs.described(),
    }


def model_config(bundle: Bundle, version: str, outputs: Outputs, max_rows: int) -> dict[str, Any]:
    """Return the configuration, with the names of Triton's ModelConfig."""
    parameters = {
        "bundle_version": bundle.version,
        "outputs_on_demand": ", ".join(outputs.on_demand()),
        "objective": bundle.manifest.objective,
    }
    return {
        "name": bundle.name,
        "platform": f"mlrf_{outputs.engine}",
        "backend": "mlrf",
        "version_policy": {"specific": {"versions": [int(version)]}},
        "max_batch_size": min(max_rows, _MAX_ROWS),
        "input": [_configured(each) for each in _inputs(bundle.schema)],
        "output": [_configured(each) for each in outputs.described()],
        "parameters": {name: {"string_value": value} for name, value in parameters.items()},
    }


def _inputs(schema: Schema) -> list[dict[str, Any]]:
    features = schema.features
    if any(_datatype(each) == "BYTES" for each in features):
        return [{"name": each.name, "datatype": _datatype(each), "shape": [-1, 1]} for each in features]
    return [{"name": ONE_TENSOR, "datatype": "FP64", "shape": [-1, len(features)]}]


def _datatype(feature: Feature) -> str:
    """Return the datatype that holds every value of a feature: one that may be missing is a float."""
    if feature.categories is not None:
        kinds = {type(category) for category in feature.categories}
        if str in kinds or (not kinds and feature.hashing is not None):
            return "BYTES"
        if kinds == {bool}:
            return "BOOL"
    if feature.nullable or feature.kind is Kind.NUMERIC or feature.categories is not None:
        return "FP64"
    return "BOOL" if feature.kind is Kind.BOOLEAN else "INT64"


def _configured(tensor: dict[str, Any]) -> dict[str, Any]:
    kind = "STRING" if tensor["datatype"] == "BYTES" else tensor["datatype"]
    return {"name": tensor["name"], "data_type": f"TYPE_{kind}", "dims": tensor["shape"][1:] or [1]}

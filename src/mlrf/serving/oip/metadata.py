"""Metadata and configuration of one version of a model, as the protocol's documents."""

from __future__ import annotations

from typing import Any

from mlrf.core.bundle import Bundle
from mlrf.core.feature import Feature, Kind
from mlrf.core.schema import Schema
from mlrf.serving.oip.output_tensors import Outputs
from mlrf.serving.oip.tensor_reader import ONE_TENSOR

_MAX_ROWS = (1 << 31) - 1
"""The greatest integer in the protocol's configuration."""


_KEY_DATATYPES = {"string": "BYTES", "date": "BYTES", "integer": "INT64", "boolean": "BOOL"}


def model_metadata(bundle: Bundle, version: str, outputs: Outputs, *, by_key: bool) -> dict[str, Any]:
    """Return name, versions, platform, inputs and outputs; one tensor per feature if a category is a string.

    `parameters` lists the outputs that are returned on demand, and, if rows are looked up `by_key`, the inputs of the key.
    """
    return {
        "name": bundle.name,
        "versions": [version],
        "platform": f"mlrf_{outputs.engine}",
        "inputs": _inputs(bundle.schema),
        "outputs": outputs.described(),
        "parameters": _parameters(bundle, outputs, by_key=by_key),
    }


def model_config(
    bundle: Bundle, version: str, outputs: Outputs, max_rows: int, *, by_key: bool, is_cached: bool
) -> dict[str, Any]:
    """Return the configuration, with the names of Triton's ModelConfig; `is_cached`: whether responses are cached."""
    parameters = _parameters(bundle, outputs, by_key=by_key)
    return {
        "name": bundle.name,
        "platform": f"mlrf_{outputs.engine}",
        "backend": "mlrf",
        "version_policy": {"specific": {"versions": [int(version)]}},
        "max_batch_size": min(max_rows, _MAX_ROWS),
        "input": [_configured(each) for each in _inputs(bundle.schema)],
        "output": [_configured(each) for each in outputs.described()],
        "response_cache": {"enable": is_cached},
        "parameters": {name: {"string_value": value} for name, value in parameters.items()},
    }


def _parameters(bundle: Bundle, outputs: Outputs, *, by_key: bool) -> dict[str, str]:
    parameters = {
        "bundle_version": bundle.version,
        "objective": bundle.manifest.objective,
        "outputs_on_demand": ", ".join(outputs.on_demand()),
    }
    if by_key and bundle.manifest.rows is not None:
        fields = bundle.manifest.rows.key
        parameters["key_inputs"] = ", ".join(f"{field.name} {_KEY_DATATYPES[field.type]} [-1]" for field in fields)
    return parameters


def _inputs(schema: Schema) -> list[dict[str, Any]]:
    features = schema.features
    if any(_datatype(each) == "BYTES" for each in features):
        return [{"name": each.name, "datatype": _datatype(each), "shape": [-1, 1]} for each in features]
    return [{"name": ONE_TENSOR, "datatype": "FP64", "shape": [-1, len(features)]}]


def _datatype(feature: Feature) -> str:
    """Return the datatype for every value of a feature: float if it may be missing."""
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

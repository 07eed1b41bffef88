"""The model text and the class labels in a skops file of a LightGBM wrapper, which is how MLflow 3 stores them.

The text is in the archive's JSON and the labels next to it, so nothing is loaded: neither LightGBM nor skops is needed.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
import zlib
from typing import Any

import numpy as np

from mlrf.builder.class_labels import fitted_labels
from mlrf.builder.importers.imported_model import ClassLabel
from mlrf.core.errors import ModelUnreadableError

_MAX_BYTES = 4 << 30
_LIGHTGBM = re.compile(rb'[^}]{0,200}"__module__":\s*"lightgbm\.')
_SCHEMA = "schema.json"


def is_skops(content: bytes) -> bool:
    """Whether a file is an archive of a LightGBM object."""
    if not content.startswith(b"PK\x03\x04"):
        return False
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive, archive.open(_SCHEMA) as schema:
            return _LIGHTGBM.match(schema.read(400)) is not None
    except (OSError, ValueError, KeyError, RuntimeError, NotImplementedError, zipfile.BadZipFile, EOFError):
        return False


def read_skops(content: bytes) -> tuple[bytes, tuple[ClassLabel, ...] | None]:
    """Return the model's text and a classifier's labels; ModelUnreadableError if the archive is damaged."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(member.file_size for member in archive.infolist()) > _MAX_BYTES:
                raise ModelUnreadableError(f"the skops file unpacks to more than {_MAX_BYTES >> 30} GiB")
            schema = json.loads(archive.read(_SCHEMA))
            state = schema["content"]["content"]
            booster = state["_Booster"]["content"]["content"] if "_Booster" in state else state
            text = _value(booster["_handle"] if "_handle" in booster else booster["handle"])  # as LightGBM 3 calls it
            labels = _labels(state.get("_classes"), archive)
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RuntimeError,
        RecursionError,
        EOFError,
    ) as error:
        raise ModelUnreadableError(
            f"the skops file of a LightGBM model is cut off or damaged, or the model was never fitted: {type(error).__name__}: "
            f"{' '.join(str(error).split())[:100]}"
        ) from error
    except (NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise ModelUnreadableError(f"the skops file is damaged: {error}") from error
    if not isinstance(text, str):
        raise ModelUnreadableError(
            "the skops file of a LightGBM model contains no model text; call the model's fit first"
        )
    return text.encode(), labels


def _labels(node: Any, archive: zipfile.ZipFile) -> tuple[ClassLabel, ...] | None:
    if node is None or node.get("__loader__") == "JsonNode":  # null: no classifier
        return None
    if node["type"] == "numpy":
        return fitted_labels(np.load(io.BytesIO(archive.read(node["file"])), allow_pickle=False))
    return fitted_labels([_value(each) for each in node["content"]])


def _value(node: Any) -> Any:
    return json.loads(node["content"])

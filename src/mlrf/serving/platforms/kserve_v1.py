"""The handlers of KServe's v1 protocol, whose forms Vertex AI's clients send too."""

from __future__ import annotations

from functools import partial

from mlrf.serving.platforms import json_rows
from mlrf.serving.platforms.rows_handler import PlatformModel, RowsHandler
from mlrf.serving.runtime.results import Handler

_FORMS: dict[str, json_rows.Reader] = {"instances": json_rows.rows_of_list, "inputs": json_rows.rows_of_list}


def predict(model: PlatformModel) -> Handler:
    """Return the handler of `/v1/models/{name}:predict`."""
    return RowsHandler(partial(_rows, model), model.batch, model.responses.predictions)


def explain(model: PlatformModel) -> Handler:
    """Return the handler of `/v1/models/{name}:explain`."""
    return RowsHandler(partial(_rows, model), model.batch, model.responses.explanations, explains=True)


def _rows(model: PlatformModel, body: bytes) -> list[bytes]:
    return json_rows.rows_of_form(model.writer, body, _FORMS, "parameters", "signature_name")

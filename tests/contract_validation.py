"""Validators of the schemas in a served OpenAPI document, whose references lead into that document."""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator


def validator(contract: dict[str, Any], schema: dict[str, Any]) -> Draft202012Validator:
    """Return a validator of a schema of the contract."""
    return Draft202012Validator(schema | {"components": contract["components"]})

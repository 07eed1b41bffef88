"""Hold manifests on standard input (a JSON list) to the classes of the KServe SDK; print what is wrong with each, as JSON.

A document is read into the SDK's class by the types that the class declares, and written again: what the class does not know,
what is of another type, and what it lacks is reported, and so is any difference between the two texts.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import kserve
from kubernetes.client import models

SCALARS = {"str": (str,), "bool": (bool,), "int": (int,), "float": (int, float), "object": (object,)}


def read(value: Any, kind: str, at: str, errors: list[str]) -> Any:
    """The object of a declared type, such as `list[V1Container]`."""
    if (found := re.fullmatch(r"list\[(.*)\]", kind)) is not None:
        if not isinstance(value, list):
            errors.append(f"{at}: {value!r} is not a list")
            return None
        return [read(each, found[1], f"{at}[{n}]", errors) for n, each in enumerate(value)]
    if (found := re.fullmatch(r"dict\((\w+), (.*)\)", kind)) is not None:
        if not isinstance(value, dict):
            errors.append(f"{at}: {value!r} is not an object")
            return None
        return {key: read(each, found[2], f"{at}.{key}", errors) for key, each in value.items()}
    if kind in SCALARS:
        if not isinstance(value, SCALARS[kind]) or (isinstance(value, bool) and kind == "int"):
            errors.append(f"{at}: {value!r} is no {kind}")
        return value
    return read_model(value, kind, at, errors)


def read_model(value: Any, kind: str, at: str, errors: list[str]) -> Any:
    cls = getattr(kserve, kind, None) or getattr(kserve.models, kind, None) or getattr(models, kind, None)
    if cls is None:
        return value  # such as IntOrString, which the SDK leaves as it is
    if not isinstance(value, dict):
        errors.append(f"{at}: {value!r} is not an object")
        return None
    by_key = {key: attribute for attribute, key in cls.attribute_map.items()}
    errors += [f"{at}: no field {key!r}" for key in value.keys() - by_key.keys()]
    given = {
        by_key[key]: read(each, cls.openapi_types[by_key[key]], f"{at}.{key}", errors)
        for key, each in value.items()
        if key in by_key
    }
    try:
        return cls(**given)
    except ValueError as error:
        errors.append(f"{at}: {error}")
        return None


def written(made: Any) -> Any:
    """What stands in a manifest of an object: its attributes that are set, by the names that the class gives them."""
    if isinstance(made, list):
        return [written(each) for each in made]
    if isinstance(made, dict):
        return {key: written(each) for key, each in made.items()}
    if not hasattr(made, "attribute_map"):
        return made
    values = {key: getattr(made, attribute) for attribute, key in made.attribute_map.items()}
    # A class gives an empty text to what it must have and a manifest need not, as the name of a model's container.
    return {key: written(value) for key, value in values.items() if value not in (None, "")}


def problems(document: dict[str, Any]) -> list[str]:
    errors: list[str] = []
    version = document["apiVersion"].rpartition("/")[2]
    made = read_model(document, f"{version[0].upper()}{version[1:]}{document['kind']}", document["kind"], errors)
    if not errors and written(made) != document:
        errors.append("another document is written than was read")
    return errors


if __name__ == "__main__":
    print(json.dumps([problems(each) for each in json.load(sys.stdin)]))

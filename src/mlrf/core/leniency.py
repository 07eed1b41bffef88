"""Which deviations from a model's schema are accepted, and the remedies that error messages give to each kind of caller."""

from __future__ import annotations

from typing import Literal

import msgspec

OnUnknownFeature = Literal["refuse", "ignore"]
UnknownCategories = Literal["refuse", "missing", "as-library"]
"""What to do with a category that the model does not know. "as-library" predicts what the training library predicts if
categories are hashed, and refuses the category otherwise."""


class Leniency(msgspec.Struct, frozen=True):
    """The deviations from the schema that a caller or operator accepts; by default none."""

    unknown_features: OnUnknownFeature = "refuse"
    unknown_categories: UnknownCategories = "refuse"
    caller: Literal["http", "python", "client", "command line"] = "http"
    """Decides which remedies error messages give: each kind of caller sends a missing value, or sets options, in its own
    way."""
    natural: bool = False
    """Whether values and bodies may have other forms than the canonical one: 0 and 1 for booleans, names of categories in
    arrays, bare rows."""


STRICT = Leniency()

NULL = {"http": "null", "python": "None or NaN", "client": "None or NaN", "command line": "null, or an empty cell,"}
LISTS_FEATURES = {
    "http": "GET /models",
    "python": "model.schema.names",
    "client": "client.models()",
    "command line": "`mlrf inspect`",
}
SEND_OBJECT = {
    "http": "send an object of",
    "python": "send a dict of",
    "client": "send a dict of",
    "command line": "send an object of",
}
IGNORE_UNKNOWN_FEATURES = {
    "http": "start the server with --unknown-features ignore",
    "python": 'pass unknown_features="ignore"',
    "client": 'make the client with leniency=Leniency(unknown_features="ignore")',
    "command line": "remove it from the file",
}
ALLOW_UNKNOWN_CATEGORY = {
    "http": 'null for missing, or "unknown_categories": "missing" (under /v2: a server with --unknown-categories missing)',
    "python": 'None for missing, or pass unknown_categories="missing"',
    "client": 'None for missing, or make the client with leniency=Leniency(unknown_categories="missing")',
    "command line": "null or an empty cell for missing, or give --unknown-categories missing",
}
AS_LIBRARY = {
    "http": '; "unknown_categories": "as-library" (under /v2: --unknown-categories as-library) answers as CatBoost does',
    "python": '; unknown_categories="as-library" answers as CatBoost does',
    "client": '; leniency=Leniency(unknown_categories="as-library") answers as CatBoost does',
    "command line": "; --unknown-categories as-library answers as CatBoost does",
}
"""The remedies that error messages give, by caller."""

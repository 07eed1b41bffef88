"""Describes a model for a reader: on one line for `repr`, and as tables for a notebook."""

from __future__ import annotations

import msgspec

from mlrf.core.bundle import Bundle
from mlrf.core.feature import Feature, example_value
from mlrf.core.value_text import clip, printable
from mlrf.engines.interface import Engine
from mlrf.model.drawing.contributions import value_text
from mlrf.model.drawing.markup import element, table

_FEATURES_SHOWN = 30
_CATEGORIES_SHOWN = 8
_CLASSES_SHOWN = 10


def describe(bundle: Bundle, engine: Engine) -> str:
    """Return a description of a model on one line: name, version, what it predicts, size, engine."""
    manifest = bundle.manifest
    count = len(bundle.schema.features)
    return (
        f"<mlrf Model {bundle.name} {bundle.short_version}: {manifest.library or 'unknown library'} {manifest.task}, "
        f"{count} feature{'' if count == 1 else 's'}, {manifest.parts}, engine {engine.name}>"
    )


def describe_html(bundle: Bundle, engine: Engine) -> str:
    """Return a model's facts and its first features as HTML tables."""
    manifest = bundle.manifest
    facts = [
        ["version", bundle.short_version],
        ["bundle", str(bundle.path)],
        ["task", f"{manifest.task}, objective {manifest.objective}"],
        ["trained with", manifest.library or "unknown"],
        ["model", manifest.parts],
        ["engine", engine.name],
        ["predict returns", f"{manifest.link.kind} of the margin"],
    ]
    if manifest.classes is not None:
        shown = [clip(str(label)) for label in manifest.classes[:_CLASSES_SHOWN]]
        facts.insert(3, ["classes", ", ".join(shown) + _more(len(manifest.classes), _CLASSES_SHOWN)])
    features = bundle.schema.features
    rows = [_feature_row(feature) for feature in features[:_FEATURES_SHOWN]]
    title = f"{len(features)} features" + _more(len(features), _FEATURES_SHOWN, "; {} more in model.schema")
    return element(
        "div",
        element("p", element("b", f"mlrf Model {bundle.name}")),
        table(facts),
        element("details", element("summary", title), table(rows, ["feature", "kind", "missing", "example"])),
    )


def _feature_row(feature: Feature) -> list[str]:
    kind = str(feature.kind)
    if feature.categories is not None:
        names = [value_text(category) for category in feature.categories[:_CATEGORIES_SHOWN]]
        kind += f": {', '.join(names)}" + _more(len(feature.categories), _CATEGORIES_SHOWN)
    example = clip(printable(msgspec.json.encode(example_value(feature)).decode()))
    return [clip(feature.name), kind, "allowed" if feature.nullable else "refused", example]


def _more(count: int, limit: int, text: str = " and {} more") -> str:
    return text.format(count - limit) if count > limit else ""

"""`mlrf inspect`: the contents of a bundle, as text or JSON."""

from __future__ import annotations

import shlex
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mlrf.cli.build_report import parity_table, processor_sentence, rows_sentence
from mlrf.cli.bundle_argument import BundleArgument
from mlrf.cli.terminal_text import escaped, escaped_json
from mlrf.core.bundle import Bundle
from mlrf.core.feature import Feature
from mlrf.core.manifest import Manifest
from mlrf.core.named_bundle import open_bundle
from mlrf.engines.selection import open_engine

_SHOWN_CATEGORIES = 4
_COVERS_NOTES = {
    "sample": ["explanations use covers estimated from sample rows instead of training rows"],
    "none": ["no explanations: the model file has no covers, and the bundle was built without --sample"],
}

_UNCLIPPED = (
    "probabilities are ONNX Runtime's own float32 sums, served unchanged: they can be outside [0, 1] by about 1e-6; clip them "
    "where a metric (log_loss) refuses such values"
)


def inspect(
    bundle: BundleArgument,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Show the contents of a bundle: the model, its features, the proof, and an example request.

    Checks every digest and opens the model, so a bundle that can be inspected is undamaged; `mlrf verify` checks its
    predictions.

    Example: mlrf inspect sales --json
    """
    found = open_bundle(bundle)
    open_engine(found)
    if as_json:
        typer.echo(escaped_json(_document(found), indent=2))
        return
    console = Console()
    manifest = found.manifest
    lines = [
        f"{manifest.name}  version {found.version}",
        f"task {manifest.task}, objective {manifest.objective}, link {manifest.link.kind}",
        manifest.parts + ("" if manifest.facts is None else f", depth {manifest.facts.max_depth}"),
    ]
    if manifest.base:
        lines.append(f"expected margin {', '.join(f'{base:.6g}' for base in manifest.base)}")
    if manifest.classes is not None:
        lines.append(f"classes {manifest.classes}")
    lines += [*(_COVERS_NOTES.get(manifest.covers, []) if manifest.graph is None else []), *manifest.notes]
    if _may_leave_unit_interval(manifest):
        lines.append(_UNCLIPPED)
    if manifest.processor is not None:
        lines.append(processor_sentence(manifest.processor))
    if manifest.rows is not None:
        lines.append(rows_sentence(manifest.rows))
    lines.append("made with " + ", ".join(f"{library} {version}" for library, version in manifest.libraries.items()))
    for line in lines:
        console.print(escaped(line), highlight=False, markup=False)
    console.print(_features(found))
    console.print(parity_table(found))
    for name, entry in manifest.files.items():
        console.print(escaped(f"{name}  {entry.size_bytes} bytes"), highlight=False, markup=False)
    # Printed without rich: a wrapped line cannot be copied.
    typer.echo(f"example: {_curl(found)}")


def _may_leave_unit_interval(manifest: Manifest) -> bool:
    """Return whether probabilities are unbounded sums: those of an ONNX forest whose leaves hold shares."""
    is_onnx_forest = manifest.graph is None and manifest.library == "onnxruntime"
    return is_onnx_forest and manifest.classes is not None and manifest.link.kind == "identity"


def _document(bundle: Bundle) -> dict[str, Any]:
    return {
        "version": bundle.version,
        "manifest": bundle.manifest,
        "features": [
            {
                "name": f.name,
                "kind": f.kind.value,
                "categories": None if f.categories is None else list(f.categories),
                "nullable": f.nullable,
            }
            for f in bundle.schema.features
        ],
        "example": {"features": bundle.schema.example()},
    }


def _features(bundle: Bundle) -> Table:
    table = Table("feature", "kind", "example", "categories", box=None, pad_edge=False)
    example = bundle.schema.example()
    for feature in bundle.schema.features:
        table.add_row(_plain(feature.name), feature.kind.value, _plain(example[feature.name]), _plain(_listed(feature)))
    return table


def _plain(value: Any) -> Text:
    return Text(escaped(value if isinstance(value, str) else msgspec.json.encode(value).decode()))


def _listed(feature: Feature) -> str:
    if feature.categories is None:
        return ""
    first = ", ".join(map(str, feature.categories[:_SHOWN_CATEGORIES]))
    count = len(feature.categories)
    return first if count <= _SHOWN_CATEGORIES else f"{first} … ({count})"


def _curl(bundle: Bundle) -> str:
    body = escaped_json({"features": bundle.schema.example()})
    return f"curl localhost:8080/predict -H 'Content-Type: application/json' -d {shlex.quote(body)}"

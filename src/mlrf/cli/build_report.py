"""Prints the report of `mlrf build`: the recognised model, the conversion, the proof, speed on this machine, size."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mlrf.cli.engine_timing import Figures, rows_for, time_engines, timeable_engines
from mlrf.cli.terminal_text import escaped
from mlrf.core.bundle import Bundle
from mlrf.core.feature import Kind
from mlrf.core.manifest import FOREST, ONNX_MODEL, CoverageEntry, Manifest, ProcessorEntry, RowsEntry
from mlrf.core.reserved_names import reserved_among

_TIMED_ROWS = 1000
_TIMED_TURNS = 2
_SPEEDS = (
    ("one row", "one_row_us"),
    ("a row of 100", "hundred_rows_us"),
    ("explanation of one", "explain_one_row_us"),
)
"""The figures that the report shows, with their titles. The others are not measured: each takes a twentieth of a build."""
_SHOWN_NAMES = 10


def print_build_report(console: Console, bundle: Bundle, out: Path) -> None:
    """Print the report of a bundle that was built."""
    manifest = bundle.manifest

    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    for line in (*_recognised(manifest), *_by_code(bundle), *_reserved(bundle)):
        say(line)
    console.print(parity_table(bundle))
    if (cover := manifest.coverage) is not None:
        unreachable = f" (no row can reach the other {cover.unreachable})" if cover.unreachable else ""
        say(f"{cover.nodes} of {cover.nodes + cover.unreachable} inner nodes verified{unreachable}")
        if cover.table_entries:
            say(_table_entries(cover))
    if manifest.processor is not None:
        say(processor_sentence(manifest.processor))
    if (rows := manifest.rows) is not None:
        say(rows_sentence(rows))
    table, _ = rows_for(bundle, _TIMED_ROWS)
    keys = [key for _, key in _SPEEDS]
    for name, figures in time_engines(
        bundle, timeable_engines(bundle), table, lambda _: None, turns=_TIMED_TURNS, keys=keys
    ).items():
        say(f"{name} on this machine: {_speed(figures)}")
    size = sum(entry.size_bytes for entry in manifest.files.values())
    parts = ", ".join(
        f"{escaped(name)} {_megabytes(entry.size_bytes)}"
        for name, entry in manifest.files.items()
        if name in (FOREST, ONNX_MODEL)
    )
    say(f"{out}  {_megabytes(size)} MB ({parts})  version {bundle.short_version}")
    say(f"next: mlrf serve {out}")


def _recognised(manifest: Manifest) -> list[str]:
    version = manifest.libraries.get(manifest.library, "")
    origin = _origin(manifest.library)
    lines = [
        (
            f"{manifest.name}: {manifest.task} ({manifest.objective}), {manifest.parts}, {manifest.n_features} features"
            + ("" if manifest.facts is None else f" ({manifest.facts.categorical_features} categorical)")
        ),
        (
            f"{origin}, served as it is; verified against {manifest.library} {version}"
            if manifest.graph is not None
            else f"{origin}, added up in {manifest.precision} as {manifest.library} does; verified against "
            f"{manifest.library} {version}"
        ),
        *manifest.notes,
    ]
    if manifest.task == "raw" and manifest.graph is None:
        lines.append(f"the objective defines no link: predictions are raw margins, as {manifest.library} returns them")
    return [escaped(line) for line in lines]


def _origin(distribution: str) -> str:
    """Return what the model is, by the distribution that proved it."""
    if distribution == "onnxruntime":
        return "an ONNX file"
    from mlrf.builder.importers.detect import LIBRARIES  # noqa: PLC0415  `mlrf --help` needs no importer

    name = next((each.name for each in LIBRARIES if distribution in each.packages), distribution)
    return f"{'an' if name.startswith('X') else 'a'} {name} model"


def _table_entries(cover: CoverageEntry) -> str:
    """Return a line about the share of CTR table entries that the proof covers."""
    share = cover.table_entries_found / cover.table_entries
    line = f"{cover.table_entries_found} of {cover.table_entries} entries of CTR tables verified ({share:.0%})"
    if cover.table_entries_found < cover.table_entries:
        line += (
            "; the rest is not verified: list more categories (--categories), or give rows that contain them (--sample)"
        )
    return line


def _by_code(bundle: Bundle) -> list[str]:
    """Return a line about the features without category names, which accept codes only."""
    names = [escaped(f.name) for f in bundle.schema.features if f.kind is Kind.CATEGORICAL and f.categories is None]
    if not names:
        return []
    shown = ", ".join(names[:_SHOWN_NAMES]) + (
        f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
    )
    return [
        f"categories as integer codes, because the model does not contain their names (give them with --categories): {shown}"
    ]


def _reserved(bundle: Bundle) -> list[str]:
    """Return a warning about features whose names are reserved words: bare rows with them are refused."""
    names = [escaped(name) for name in reserved_among(bundle.schema.names)]
    if not names:
        return []
    shown = ", ".join(names[:_SHOWN_NAMES])
    return [f'warning: names that are members of requests: {shown}; send rows of this model as {{"features": {{…}}}}']


def _speed(figures: Figures) -> str:
    return ", ".join(f"{what} {_short(value)} µs" for what, key in _SPEEDS if (value := figures[key]) is not None)


def _megabytes(size_bytes: int) -> str:
    return _short(size_bytes / 1e6)


def _short(number: float) -> str:
    """Return a number with enough digits to be nonzero."""
    return f"{number:.1f}" if number >= 1 else f"{number:.2g}"


def rows_sentence(rows: RowsEntry) -> str:
    """Return a sentence about the rows that a bundle serves by key."""
    fields = ", ".join(escaped(f"{field.name} ({field.type})") for field in rows.key)
    content = f"{rows.count} rows" if rows.count else "rows to be loaded"
    explained = f", {rows.explained} with their contributions" if rows.explained else ""
    as_of = f", true as of {escaped(rows.as_of_column)}" if rows.as_of_column else ""
    return f"{content} by {fields}{as_of}{explained}"


def processor_sentence(processor: ProcessorEntry) -> str:
    """Return a sentence about the numbers for which the training library's answer depends on the processor."""
    functions, machine = ", ".join(processor.functions), " ".join([processor.machine, *processor.cpu_features[-1:]])
    if not processor.bands:
        return f"{functions}: the last bits differ between processors, but no threshold depends on them"
    widest = max(processor.bands, key=lambda band: band.ulps)
    return escaped(
        f"{functions}: the last bits differ between processors. Thresholds are those of the machine of the build ({machine}); "
        f"answers are equal to the bit outside a band around each, of at most {widest.ulps} float64 numbers to a side "
        f"({widest.feature!r}: {widest.width:.1e})"
    )


def parity_table(bundle: Bundle) -> Table:
    """Return a table with the result of each kind of golden rows."""
    table = Table("engine", "golden rows", "rows", "equal to the bit", "largest difference", box=None, pad_edge=False)
    for engine, kinds in bundle.manifest.parity.items():
        for kind, rows in kinds.items():
            table.add_row(
                Text(escaped(engine)),
                Text(escaped(kind)),
                str(rows.rows),
                str(rows.bit_equal),
                f"{rows.max_difference:.1e}",
            )
    return table

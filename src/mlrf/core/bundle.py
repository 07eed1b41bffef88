"""The bundle on disk: an immutable directory that is the whole contract between training and serving.

`manifest.json` lists every other file with its size and digest, and the bundle's version is the digest of the manifest:
whoever holds the version holds the content. Reading checks all of it; a file that is missing, altered, extra or a link
refuses the load. Nothing in a bundle is ever unpickled. Writing is `build`'s concern.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, cast

import msgspec

from mlrf.core.errors import BundleError
from mlrf.core.feature import Feature
from mlrf.core.file_kinds import wrong_content
from mlrf.core.json_schema import from_json_schema
from mlrf.core.link import KINDS, Link, LinkKind
from mlrf.core.schema import Schema

FORMAT = 2
_FORMATS_READ = (1, 2)
"""Format 1 knew forests alone; such a bundle means today what it meant then."""
MANIFEST = "manifest.json"
SCHEMA = "schema.json"
ONNX_MODEL = "model.onnx"
FOREST = "forest.bin"
GOLDEN = "golden.parquet"
FEATURES = "features.parquet"
EXPLANATIONS = "explanations.parquet"
GOLDEN_ROWS = "golden.bin"
NAME_PATTERN = re.compile(r"(?!\.+\Z)[A-Za-z0-9._-]{1,64}")
"""Of a model's name: it stands in paths of the server, where `.` and `..` lead elsewhere."""
NAME_RULE = "1 to 64 of A-Z a-z 0-9 . _ - (not dots alone)"
MAX_MANIFEST_BYTES = 64 << 20
_ENGINE_FILES = {"trees": FOREST, "onnxruntime": ONNX_MODEL}
_CHUNK_BYTES = 1 << 20
_SHORT_VERSION_DIGITS = 12
_MARGIN_LIMIT = 1e-6
_GRAPH_LIMIT = 1e-4

Task = Literal["regression", "binary", "multiclass", "ranking", "raw"]
Covers = Literal["training", "sample", "none"]
"""Where the weights of branches are from, which reasons rest on: the training rows, rows of a sample, or nowhere."""


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of the bundle, as the manifest lists it."""

    sha256: str
    size_bytes: int


class LinkEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The link, as the manifest spells it."""

    kind: str
    scale: float = 1.0


class ModelFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a person wants to know of the model's size."""

    trees: int
    leaves: int
    max_depth: int
    categorical_features: int


class GraphEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a graph of operators answers with: the user's own ONNX file, which ONNX Runtime runs as it is.

    The margins of such a bundle are numbers of its output, and the link leaves them as they are.
    """

    output: str
    """Name of the graph's output that is the answer."""
    column: int | None = None
    """The one column of it that counts, where the others follow from it; None where all do."""
    keys: list[str | int] | None = None
    """Of the maps that the output is made of, in the order of its columns; None for a tensor."""
    operators: dict[str, int] = {}
    """How many there are of each, by name."""


class ParityRows(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one kind of golden rows came out at build: rows tried, rows bit-equal, and the largest margin difference."""

    rows: int
    bit_equal: int
    max_difference: float


class CoverageEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many inner nodes the golden rows exercised at build, and how."""

    nodes: int
    """Inner nodes that a golden row reached and stood on the edge of."""
    unreachable: int
    """Inner nodes that no row can reach."""
    both_sides: int
    """Of the reached ones, those left on either side."""
    missing_rule: int
    """Of the reached ones, those that were shown a missing value."""
    category_probes: int
    """Pairs of categorical node and category tried."""
    category_probes_left_out: int
    """Pairs that were too many to try."""
    table_entries: int = 0
    """Entries of the tables that values are looked up in (CatBoost's CTR features)."""
    table_entries_found: int = 0
    """Of these, the ones that some golden row finds: the others are not proven."""


class KeyFieldEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A field of the key that finds a row, as the manifest spells it."""

    name: str
    type: Literal["string", "integer", "date", "boolean"]


class RowsEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which rows the model is served with by key: those of `features.parquet`, or none yet where it has no such file."""

    key: list[KeyFieldEntry]
    as_of_column: str | None = None
    """The column of `features.parquet` that says when a row was true."""
    count: int = 0
    """Rows in `features.parquet`."""
    explained: int = 0
    """Rows whose contributions are in `explanations.parquet`."""


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`manifest.json`, field for field. It holds no time stamp: the same inputs give the same version."""

    format: int
    name: str
    task: Task
    objective: str
    """As the training library names it."""
    link: LinkEntry
    classes: list[str | int | float | bool] | None
    """Class labels in the order of the model's outputs; None unless a classifier."""
    class_at_half: Literal[0, 1] = 1
    """The class of a binary prediction of exactly 0.5: several libraries give it to the first."""
    n_features: int
    n_outputs: int
    base: list[float]
    """[n_outputs] expected raw margin over the training rows; empty for a graph, which has none."""
    facts: ModelFacts | None
    """Of a forest; None for a graph."""
    graph: GraphEntry | None = None
    """None for a forest."""
    libraries: dict[str, str]
    """Versions of what made the bundle, by distribution name."""
    parity: dict[str, dict[str, ParityRows]]
    """By engine, then by kind of golden rows."""
    precision: Literal["float64", "float32"] = "float64"
    """Of the training library's margins and predictions."""
    coverage: CoverageEntry | None = None
    """Of the model's nodes by the golden rows."""
    covers: Covers = "training"
    library: str = ""
    """The distribution of the library that trained the model."""
    notes: list[str] = []
    """What the reader of the model did that a person may not expect, a sentence each."""
    rows: RowsEntry | None = None
    """What the model is asked by key with; None where it is not."""
    files: dict[str, FileEntry]

    @property
    def margin_limit(self) -> float:
        """How far a margin may lie from its golden one on any machine, as a share of max(|margin|, mean |margin|).

        A forest's sums are the same everywhere but for ONNX Runtime's order; the kernels of a graph in float32 differ from one
        processor to the next by the rounding of thousands of products.
        """
        return _GRAPH_LIMIT if self.graph is not None and self.precision == "float32" else _MARGIN_LIMIT

    @property
    def parts(self) -> str:
        """What the model is made of, for a sentence."""
        if self.facts is not None:
            return f"{self.facts.trees} trees, {self.facts.leaves} leaves"
        counts = {} if self.graph is None else self.graph.operators
        named = ", ".join(name if count == 1 else f"{count} {name}" for name, count in counts.items())
        total = sum(counts.values())
        return f"a graph of {total} operator{'' if total == 1 else 's'} ({named})"


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle that was read and whose every digest held.

    `version` is the sha256 of the manifest in hex; answers carry its first 12 digits.
    """

    path: Path
    manifest: Manifest
    version: str
    schema: Schema
    link: Link
    held: dict[str, int] = {}
    """Descriptors of files that are held open, by name: read in place of those on disk."""

    @property
    def name(self) -> str:
        """The model's name."""
        return self.manifest.name

    @property
    def short_version(self) -> str:
        """The digits of the version that answers carry."""
        return self.version[:_SHORT_VERSION_DIGITS]

    def file(self, name: str) -> Path:
        """Return the path of a listed file; BundleError when the bundle has none of this name."""
        if name not in self.manifest.files:
            raise BundleError(f"{self.path}: the bundle has no {name}; build it again", file=name)
        if name in self.held:
            return _path_of(self.held[name])
        return self.path / name


def read_bundle(path: str | os.PathLike[str]) -> Bundle:
    """Read and check a bundle: format, file list, sizes, digests, schema.

    BundleError names the file and what is wrong with it. Costs one pass over every byte of the bundle.
    """
    root = Path(path)
    raw = _read_small(root, MANIFEST)
    manifest = _decode_manifest(root, raw)
    _check_files(root, manifest)
    return _described(root, raw, manifest, _read_small(root, SCHEMA))


def describe_bundle(path: str | os.PathLike[str], name: str, version: str) -> Bundle:
    """Return what manifest and schema say of a version that is not sound; one without a version where they are not its own."""
    root = Path(path)
    with suppress(BundleError):
        raw, schema = _read_small(root, MANIFEST), _read_small(root, SCHEMA)
        manifest = _decode_manifest(root, raw)
        is_own = manifest.name == name and hashlib.sha256(raw).hexdigest() == version
        if is_own and hashlib.sha256(schema).hexdigest() == manifest.files[SCHEMA].sha256:
            return _described(root, raw, manifest, schema)
    manifest = Manifest(
        format=FORMAT, name=name, task="raw", objective="", link=LinkEntry("identity"), classes=None, n_features=1,
        n_outputs=1, base=[], facts=None, libraries={}, parity={}, files={},
    )  # fmt: skip
    return Bundle(path=root, manifest=manifest, version="", schema=Schema((Feature("unknown"),)), link=Link("identity"))


def read_held(root: Path, version: str, held: Mapping[str, int]) -> Bundle:
    """Read a version of a bundle from what is held of it: descriptors of its manifest, its schema, and files that it is to use.

    BundleError when one is missing, or not what the version says.
    """
    raw, schema = (_path_of(held[name]).read_bytes() if name in held else b"" for name in (MANIFEST, SCHEMA))
    if hashlib.sha256(raw).hexdigest() != version:
        raise BundleError(
            f"{root}: what is held of it is not the version {version[:_SHORT_VERSION_DIGITS]}", file=MANIFEST
        )
    manifest = _decode_manifest(root, raw)
    for name in (SCHEMA, *held):
        if name != MANIFEST and (name not in held or digest_file(_path_of(held[name])) != manifest.files[name].sha256):
            raise BundleError(f"{root}: what is held of {name} is not the manifest's", file=name)
    return msgspec.structs.replace(_described(root, raw, manifest, schema), held=dict(held))


def decode_json(root: Path, name: str, raw: bytes) -> Any:
    """Decode one of the bundle's JSON files; BundleError when it is not JSON."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(f"{root}: {name} is not JSON: {error}", file=name) from error


def digest_file(path: Path) -> str:
    """Return the sha256 of a file in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _path_of(descriptor: int) -> Path:
    return Path(f"/proc/self/fd/{descriptor}")


def _described(root: Path, raw: bytes, manifest: Manifest, raw_schema: bytes) -> Bundle:
    schema = _decode_schema(root, raw_schema)
    if len(schema.features) != manifest.n_features:
        raise BundleError(
            f"{root}: schema.json has {len(schema.features)} features, the manifest says {manifest.n_features}",
            file=SCHEMA,
        )
    link = _read_link(root, manifest)
    version = hashlib.sha256(raw).hexdigest()
    return Bundle(path=root.resolve(), manifest=manifest, version=version, schema=schema, link=link)


def _decode_manifest(root: Path, raw: bytes) -> Manifest:
    document = decode_json(root, MANIFEST, raw)
    found = document.get("format") if isinstance(document, dict) else None
    # 1.0 and true are 1 to Python.
    if type(found) is not int or found not in _FORMATS_READ:
        raise BundleError(
            f"{root}: this version of mlrf reads bundle formats {_listed_formats()}, the manifest says {found!r}; "
            "build the bundle again, or install the mlrf that made it",
            file=MANIFEST,
        )
    try:
        manifest = msgspec.convert(document, Manifest)
    except msgspec.ValidationError as error:
        raise BundleError(f"{root}: manifest.json is not a manifest that mlrf wrote: {error}", file=MANIFEST) from error
    if not NAME_PATTERN.fullmatch(manifest.name):
        raise BundleError(f"{root}: the model's name {manifest.name!r} is not {NAME_RULE}", file=MANIFEST)
    if (manifest.facts is None) == (manifest.graph is None):
        raise BundleError(f"{root}: the manifest describes no model, or two", file=MANIFEST)
    n_bases = manifest.n_outputs if manifest.graph is None else 0
    if manifest.n_outputs < 1 or len(manifest.base) != n_bases:
        raise BundleError(f"{root}: the manifest's outputs and base values do not match", file=MANIFEST)
    n_classes = 2 if manifest.n_outputs == 1 else manifest.n_outputs
    if manifest.classes is not None and len(manifest.classes) != n_classes:
        raise BundleError(
            f"{root}: the manifest has {len(manifest.classes)} classes, a model of {manifest.n_outputs} outputs has "
            f"{n_classes}",
            file=MANIFEST,
        )
    _check_listed(root, manifest)
    return manifest


def _check_listed(root: Path, manifest: Manifest) -> None:
    """Check that the manifest lists every file that a bundle needs; BundleError names the first that it lacks."""
    needed = [SCHEMA, GOLDEN_ROWS, *(_ENGINE_FILES[engine] for engine in manifest.parity if engine in _ENGINE_FILES)]
    if manifest.graph is not None:
        needed.append(ONNX_MODEL)
    if manifest.rows is not None:
        needed += [FEATURES] * (manifest.rows.count > 0) + [EXPLANATIONS] * (manifest.rows.explained > 0)
    for name in needed:
        if name not in manifest.files:
            raise BundleError(f"{root}: the manifest lists no {name}; build it again", file=name)
    if not manifest.files.keys() & _ENGINE_FILES.values():
        raise BundleError(
            f"{root}: the manifest lists neither {FOREST} nor {ONNX_MODEL}, so nothing can answer; build it again",
            file=FOREST,
        )


def _listed_formats() -> str:
    return " and ".join(map(str, _FORMATS_READ))


def _check_files(root: Path, manifest: Manifest) -> None:
    # Everything is looked at through lstat before it is opened: a link or a device must not be followed or read.
    try:
        present = {entry.name: entry for entry in os.scandir(root)}
    except OSError as error:
        raise BundleError(f"{root}: cannot be read: {error.strerror}") from error
    if extra := sorted(present.keys() - manifest.files.keys() - {MANIFEST}):
        raise BundleError(f"{root}: {extra[0]} is in the directory but not in the manifest; remove it", file=extra[0])
    for name, listed in manifest.files.items():
        if "/" in name or name in ("", ".", "..", MANIFEST):
            raise BundleError(f"{root}: the manifest lists {name!r}, which is no file name", file=name)
        if name not in present:
            raise BundleError(f"{root}: {name} is missing", file=name)
        try:
            _check_file(root, present[name], listed)
        except OSError as error:
            raise BundleError(f"{root}: {name} cannot be read: {error.strerror}", file=name) from error


def _check_file(root: Path, entry: os.DirEntry[str], listed: FileEntry) -> None:
    name = entry.name
    found = entry.stat(follow_symlinks=False)
    if not stat.S_ISREG(found.st_mode):
        raise BundleError(f"{root}: {name} is not a regular file", file=name)
    if found.st_size != listed.size_bytes:
        raise BundleError(f"{root}: {name} has {found.st_size} bytes, the manifest says {listed.size_bytes}", file=name)
    if digest_file(root / name) != listed.sha256:
        raise BundleError(
            f"{root}: {name} was altered: its sha256 is not the manifest's; copy the bundle again", file=name
        )
    if (wrong := wrong_content(root / name)) is not None:
        raise BundleError(f"{root}: {name} {wrong}; build it again", file=name)


def _read_small(root: Path, name: str) -> bytes:
    path = root / name
    try:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode):
            raise BundleError(f"{root}: {name} is not a regular file", file=name)
        if found.st_size > MAX_MANIFEST_BYTES:
            raise BundleError(f"{root}: {name} has {found.st_size} bytes, more than any that mlrf writes", file=name)
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        reason = f"has no {name}, so it is no bundle" if root.is_dir() else "is no directory; a bundle is one"
        raise BundleError(f"{root}: {reason}; make one with `mlrf build`", file=name) from error
    except OSError as error:
        raise BundleError(f"{root}: {name} cannot be read: {error.strerror}", file=name) from error


def _decode_schema(root: Path, raw: bytes) -> Schema:
    document = decode_json(root, SCHEMA, raw)
    try:
        return from_json_schema(document)
    except BundleError as error:
        raise BundleError(f"{root}: {error}", **error.details) from error


def _read_link(root: Path, manifest: Manifest) -> Link:
    kind = manifest.link.kind
    if kind not in KINDS:
        raise BundleError(
            f"{root}: the manifest names the link {kind!r}, which this version does not know", file=MANIFEST
        )
    link = Link(cast("LinkKind", kind), manifest.link.scale)
    if link.is_vector and manifest.n_outputs < 2:  # noqa: PLR2004
        raise BundleError(f"{root}: the manifest's link {kind} needs at least two outputs", file=MANIFEST)
    return link

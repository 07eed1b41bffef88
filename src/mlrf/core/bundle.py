"""The bundle on disk: an immutable directory, the whole contract between training and serving.

1. `manifest.json` lists every other file with its size and digest; the sha256 of the manifest is the bundle's version. Two
   bundles of one version have the same content. The signature, `model.sig`, is not listed: a bundle is signed without becoming
   another version (`mlrf.signing`).
2. Reading checks everything. A file that is missing, altered, not listed, or a link makes the bundle invalid. If the caller
   allows links, they are followed, and the digests are checked nevertheless.
3. Nothing in a bundle is ever unpickled.

`builder.bundle` writes bundles.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import msgspec

from mlrf.core.bundle_files import Digest, check_files, digest_file, read_small
from mlrf.core.errors import BundleError
from mlrf.core.feature import Feature
from mlrf.core.json_schema import from_json_schema
from mlrf.core.link import KINDS, Link, LinkKind
from mlrf.core.manifest import (
    EXPLANATIONS,
    FEATURES,
    FILE_PATTERN,
    FOREST,
    FORMAT,
    GOLDEN_ROWS,
    MANIFEST,
    MAX_FILES,
    NAME_PATTERN,
    NAME_RULE,
    ONNX_MODEL,
    SCHEMA,
    SIGNATURE,
    LinkEntry,
    Manifest,
)
from mlrf.core.schema import Schema

_FORMATS_READ = (1, 2)
"""Format 1 has forests only and is read unchanged."""
_ENGINE_FILES = {"trees": FOREST, "onnxruntime": ONNX_MODEL}
_SHORT_VERSION_DIGITS = 12
Check = Callable[[Digest], None]
"""Checks the files of a bundle as `check_files` does; called with the function that digests a file."""


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle that was read, and whose digests were all correct.

    `version` is the sha256 of the manifest in hex; responses carry its first 12 digits.
    """

    path: Path
    manifest: Manifest
    version: str
    schema: Schema
    link: Link
    pinned: dict[str, int] = {}
    """File descriptors by file name; these open files are read instead of the files on disk."""
    served_name: str | None = None  # the name that callers use, where it is not the manifest's
    follows_links: bool = False  # whether its files may be links

    @property
    def name(self) -> str:
        """The model's name, as callers use it."""
        return self.served_name or self.manifest.name

    @property
    def short_version(self) -> str:
        """The digits of the version that responses carry."""
        return self.version[:_SHORT_VERSION_DIGITS]

    def file(self, name: str) -> Path:
        """Return the path of a listed file; BundleError if the bundle has no file of this name."""
        if name not in self.manifest.files:
            raise BundleError(f"{self.path}: the bundle has no {name}; build it again", file=name)
        if name in self.pinned:
            return _path_of(self.pinned[name])
        return self.path / name


def read_bundle(path: str | os.PathLike[str], *, allow_links: bool = False) -> Bundle:
    """Read and check a bundle: format, file list, sizes, digests, schema.

    `allow_links`: files may be links to files, and names that begin with `..` are not the bundle's, as in a mounted ConfigMap.
    BundleError names the file and the fault. Every byte of the bundle is read once.
    """
    bundle, check = begin_bundle(path, allow_links=allow_links)
    check(digest_file)
    return bundle


def begin_bundle(path: str | os.PathLike[str], *, allow_links: bool = False) -> tuple[Bundle, Check]:
    """Return a bundle of which manifest and schema were read, and the function that checks its files; errors as `read_bundle`.

    For a caller that lets another process check them: the bundle is not to be used before.
    """
    root = Path(path)
    raw = read_small(root, MANIFEST, allow_links=allow_links)
    manifest = decode_manifest(root, raw)
    raw_schema = b""

    def check(digest: Digest) -> None:
        check_files(root, manifest, digest, allow_links=allow_links)
        if hashlib.sha256(raw_schema).hexdigest() != manifest.files[SCHEMA].sha256:
            raise BundleError(f"{root}: {SCHEMA} was changed while it was read; start again", file=SCHEMA)

    try:
        raw_schema = read_small(root, SCHEMA, allow_links=allow_links)
        bundle = _described(root, raw, manifest, raw_schema)
    except BundleError:
        # What follows from an altered file is less useful to know than the file.
        check(digest_file)
        raise
    return msgspec.structs.replace(bundle, follows_links=True) if allow_links else bundle, check


def describe_bundle(path: str | os.PathLike[str], name: str, version: str) -> Bundle:
    """Return a damaged version as its manifest and schema describe it, or a placeholder if they are damaged too."""
    root = Path(path)
    with suppress(BundleError):
        raw, schema = read_small(root, MANIFEST), read_small(root, SCHEMA)
        manifest = decode_manifest(root, raw)
        is_own = manifest.name == name and hashlib.sha256(raw).hexdigest() == version
        if is_own and hashlib.sha256(schema).hexdigest() == manifest.files[SCHEMA].sha256:
            return _described(root, raw, manifest, schema)
    manifest = Manifest(
        format=FORMAT, name=name, task="raw", objective="", link=LinkEntry("identity"), classes=None, n_features=1,
        n_outputs=1, base=[], facts=None, libraries={}, parity={}, files={},
    )  # fmt: skip
    return Bundle(path=root, manifest=manifest, version="", schema=Schema((Feature("unknown"),)), link=Link("identity"))


def read_pinned(root: Path, version: str, pinned: Mapping[str, int]) -> Bundle:
    """Read a version of a bundle from open files: the descriptors of its manifest, its schema, and the files that it will use.

    BundleError when one is missing or is not that of the version.
    """
    raw, schema = (_path_of(pinned[name]).read_bytes() if name in pinned else b"" for name in (MANIFEST, SCHEMA))
    if hashlib.sha256(raw).hexdigest() != version:
        raise BundleError(
            f"{root}: the files read are not those of version {version[:_SHORT_VERSION_DIGITS]}", file=MANIFEST
        )
    manifest = decode_manifest(root, raw)
    for name in (SCHEMA, *pinned):
        if name != MANIFEST and (
            name not in pinned or digest_file(_path_of(pinned[name])) != manifest.files[name].sha256
        ):
            raise BundleError(f"{root}: the content read of {name} does not match the manifest", file=name)
    return msgspec.structs.replace(_described(root, raw, manifest, schema), pinned=dict(pinned))


def decode_json(root: Path | str, name: str, raw: bytes) -> Any:
    """Decode one of the bundle's JSON files; BundleError when it is not JSON."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(f"{root}: {name} is not JSON: {error}", file=name) from error


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


def decode_manifest(root: Path | str, raw: bytes) -> Manifest:
    """Return a manifest from its bytes; BundleError, which names `root`, when they are not one."""
    document = decode_json(root, MANIFEST, raw)
    found = document.get("format") if isinstance(document, dict) else None
    # In Python, 1.0 and True equal 1.
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
        raise BundleError(f"{root}: the manifest must describe either a forest or a graph", file=MANIFEST)
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


def _check_listed(root: Path | str, manifest: Manifest) -> None:
    """Check that the manifest lists names of files, and every file that a bundle needs; BundleError names one that is wrong."""
    if len(manifest.files) > MAX_FILES:
        raise BundleError(
            f"{root}: the manifest lists {len(manifest.files)} files, more than the {MAX_FILES} of a bundle",
            file=MANIFEST,
        )
    for name in manifest.files:
        if not FILE_PATTERN.fullmatch(name) or name in (MANIFEST, SIGNATURE):
            raise BundleError(f"{root}: the manifest lists {name[:80]!r}, which is not a file name", file=MANIFEST)
    needed = [SCHEMA, GOLDEN_ROWS, *(_ENGINE_FILES[engine] for engine in manifest.parity if engine in _ENGINE_FILES)]
    if manifest.graph is not None:
        needed.append(ONNX_MODEL)
    if manifest.rows is not None:
        needed += [FEATURES] * (manifest.rows.count > 0) + [EXPLANATIONS] * (manifest.rows.explained > 0)
    if missing := [name for name in needed if name not in manifest.files]:
        raise BundleError(f"{root}: the manifest lists no {missing[0]}; build it again", file=missing[0])
    if not manifest.files.keys() & _ENGINE_FILES.values():
        raise BundleError(
            f"{root}: the manifest lists neither {FOREST} nor {ONNX_MODEL}, so no engine can serve it; build it again",
            file=FOREST,
        )


def _listed_formats() -> str:
    return " and ".join(map(str, _FORMATS_READ))


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
            f"{root}: the manifest names the link {kind!r}, which this version of mlrf does not support", file=MANIFEST
        )
    link = Link(cast("LinkKind", kind), manifest.link.scale)
    if link.is_vector and manifest.n_outputs < 2:  # noqa: PLR2004
        raise BundleError(f"{root}: the manifest's link {kind} needs two or more outputs", file=MANIFEST)
    return link

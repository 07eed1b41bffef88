"""Creates the content of a forest's bundle: schema, exports, verification, manifest."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from mlrf.builder.build_extra import why_no_onnx_export
from mlrf.builder.bundle.golden_file import golden_file
from mlrf.builder.bundle.golden_parquet import Golden, encode_golden
from mlrf.builder.bundle.leaf_file import leaf_file
from mlrf.builder.bundle.processor_entry import processor_entry
from mlrf.builder.covers import NO_COVERS, with_covers
from mlrf.builder.exporters.forest_file.encode import encode_forest
from mlrf.builder.importers.imported_model import ImportedModel
from mlrf.builder.package_versions import library_versions
from mlrf.builder.parity.gate import Exports, Progress, Proof, prove
from mlrf.builder.sample import schema_of
from mlrf.core.category_hash import HASHED_CODE
from mlrf.core.combination import Combination
from mlrf.core.feature import Kind
from mlrf.core.forest import F64, LEAF, Forest
from mlrf.core.manifest import (
    FINAL_FOREST,
    FOREST,
    FORMAT,
    GOLDEN,
    GOLDEN_ROWS,
    LEAVES,
    ONNX_MODEL,
    CoverageEntry,
    LinkEntry,
    Manifest,
    ModelFacts,
)
from mlrf.core.schema import Schema

_NO_ONNX_COMBINATION = (
    "model.onnx is left out: it would have the members' trees, but not what combines them; the tree engine serves the "
    "bundle"
)
_NO_ONNX_LINEAR = (
    "model.onnx is left out: ONNX has no operator for leaves that are linear functions (linear_tree); the tree engine serves "
    "the bundle"
)
_LINEAR_LEAVES = "neither LightGBM nor mlrf has Shapley values of linear leaves (linear_tree)"
_NOT_LINEAR = "its members' answers pass through functions that are not linear"
_ADDS_ROWS = (
    "its final estimator adds multiples of the row's own numbers (passthrough=True), whose means are not in the model"
)
_NO_ONNX = (
    "model.onnx is left out: ONNX has no operator that hashes combinations of categories (CTR features); the tree engine "
    "serves the bundle"
)


class ForestBundle:
    """Exports a tree model for both engines, and verifies both."""

    def __init__(self, imported: ImportedModel, sample: Any, progress: Progress) -> None:
        """Read the sample and export; SampleError if the sample does not match the model."""
        self.schema, sampled = schema_of(imported.features, sample)
        self._sampled = _nameable(self.schema, sampled)
        self._imported = with_covers(imported, self._sampled)
        self.unexplained = _why_unexplained(self._imported)
        """Why the model cannot be explained; None if it can."""
        progress("exporting", 0.0)
        self._why_no_onnx = _why_no_onnx(imported)
        onnx = None if self._why_no_onnx else _export_onnx(imported)
        self._exports = Exports(onnx, encode_forest(self._imported.forest))
        progress("exporting", 1.0)

    def prove(self, name: str, progress: Progress) -> tuple[dict[str, bytes], Manifest]:
        """Return the files and the manifest of the bundle; ParityError if an export does not predict as the library does.

        Afterwards the schema contains how the library treats infinities.
        """
        proof = prove(self._imported, self._exports, self.schema, sampled=self._sampled, progress=progress)
        self.schema = proof.schema
        golden = Golden(proof.kinds, proof.rows, proof.margins, proof.predictions)
        files = {
            FOREST: self._exports.forest,
            GOLDEN: encode_golden(golden),
            GOLDEN_ROWS: golden_file(proof.rows, proof.margins, size_bytes=len(self._imported.source) // 4),
        }
        if self._imported.final is not None:
            files[FINAL_FOREST] = encode_forest(self._imported.final.forest)
        if self._exports.onnx is not None:
            files[ONNX_MODEL] = self._exports.onnx
        if (leaves := leaf_file(self._imported.forest)) is not None:
            files[LEAVES] = leaves
        return files, self._manifest(name, proof)

    def _manifest(self, name: str, proof: Proof) -> Manifest:
        imported, forest = self._imported, self._imported.forest
        forests = [forest] if imported.final is None else [forest, imported.final.forest]
        base = imported.margins(np.array([forest.expected_margin()]))[0].tolist()
        return Manifest(
            format=FORMAT,
            name=name,
            task=imported.task,
            objective=imported.objective,
            link=LinkEntry(imported.link.kind, imported.link.scale),
            classes=None if imported.classes is None else list(imported.classes),
            targets=[list(labels) for labels in imported.targets],
            class_at_half=imported.class_at_half,
            predict_returns="label" if imported.classes is not None and imported.labels_known else "value",
            n_features=forest.n_features,
            n_outputs=len(base),
            base=base,
            combination=imported.combination,
            facts=ModelFacts(
                trees=sum(each.n_trees for each in forests),
                leaves=sum(each.n_leaves for each in forests),
                max_depth=max(map(_depth, forests)),
                categorical_features=sum(f.kind is Kind.CATEGORICAL for f in self.schema.features),
                linear_leaves=0 if forest.linear is None else int(np.count_nonzero(np.diff(forest.linear.offsets))),
            ),
            libraries=library_versions(imported.library, proof.library_version),
            parity=proof.parity,
            precision=forest.rounding,
            covers=imported.covers,
            library=imported.library,
            notes=[*imported.notes, *([self._why_no_onnx] if self._why_no_onnx else [])],
            processor=processor_entry(imported),
            coverage=CoverageEntry(**asdict(proof.coverage)),
            files={},
        )


def _why_no_onnx(imported: ImportedModel) -> str | None:
    """Return why the bundle has no model.onnx; None if it has one."""
    if imported.combination is not None:
        return _NO_ONNX_COMBINATION
    if imported.forest.linear is not None:
        return _NO_ONNX_LINEAR
    return _NO_ONNX if imported.forest.tables is not None else why_no_onnx_export()


def _export_onnx(imported: ImportedModel) -> bytes:
    from mlrf.builder.exporters.onnx.export import export_onnx  # noqa: PLC0415  with the package onnx, which is an extra

    return export_onnx(imported.forest, imported.link)


def _nameable(schema: Schema, rows: F64 | None) -> F64 | None:
    """Return the rows whose categories all have names: the library cannot predict for a hash."""
    hashing = [index for index, feature in enumerate(schema.features) if feature.hashing is not None]
    if rows is None or not hashing:
        return rows
    kept = rows[~np.any(rows[:, hashing] >= HASHED_CODE, axis=1)]
    return kept if len(kept) else None


def _why_unexplained(imported: ImportedModel) -> str | None:
    if imported.combination is not None and Combination(imported.combination).linear() is None:
        return _ADDS_ROWS if imported.combination.row_coefficients else _NOT_LINEAR
    if imported.forest.linear is not None:
        return _LINEAR_LEAVES
    return NO_COVERS if imported.covers == "none" else None


def _depth(forest: Forest) -> int:
    """Return the largest number of splits on a path."""
    depth = [0] * forest.n_nodes
    left, right = forest.left.tolist(), forest.right.tolist()
    for node, feature in enumerate(forest.feature.tolist()):  # parents come before their children
        if feature != LEAF:
            depth[left[node]] = depth[right[node]] = depth[node] + 1
    return max(depth)

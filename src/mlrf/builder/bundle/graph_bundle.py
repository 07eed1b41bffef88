"""Creates the content of an ONNX graph's bundle: meaning of its outputs, schema, verification, manifest.

The ONNX file is included unchanged.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from mlrf.builder.bundle.golden_file import golden_file
from mlrf.builder.bundle.golden_parquet import Golden, encode_golden
from mlrf.builder.importers.imported_model import ImportedGraph
from mlrf.builder.importers.onnx_graph.graph_runner import GraphAnswers, run_graph_reference
from mlrf.builder.importers.onnx_graph.inputs import with_missing_allowed
from mlrf.builder.importers.onnx_graph.proof import GraphProof, Progress, prove_graph
from mlrf.builder.importers.onnx_graph.rows import graph_rows, rows_to_try
from mlrf.builder.importers.onnx_graph.semantics import missing_answered, read_meaning
from mlrf.builder.package_versions import library_versions
from mlrf.builder.sample import schema_of
from mlrf.core.manifest import FORMAT, GOLDEN, GOLDEN_ROWS, ONNX_MODEL, GraphEntry, LinkEntry, Manifest

_SHOWN_OPERATORS = 3
_MIN_STORED_ROWS, _MIN_STORED_BYTES = 16, 512 << 10


class GraphBundle:
    """Runs a graph to find out what it predicts, and verifies that the engine gives the same answers."""

    def __init__(self, imported: ImportedGraph, sample: Any, progress: Progress) -> None:
        """Run the graph and read the sample; raises a BuildError that says what does not match."""
        progress("trying the graph", 0.0)
        rows, lacking = rows_to_try(imported)
        answers = run_graph_reference(imported, rows)
        if sample is not None and not np.any(np.all(np.isfinite(answers.numbers), axis=1)):
            # A graph may answer only what is typical of its data, as one that takes a logarithm.
            allowed = with_missing_allowed(imported.features, [True] * len(imported.features))
            rows, lacking = rows_to_try(imported, schema_of(allowed, sample)[1])
            answers = run_graph_reference(imported, rows)
        n_tried = len(rows) - len(lacking)
        self._meaning = read_meaning(imported, _first(answers, n_tried))
        missing = missing_answered(imported.may_lack, lacking, answers.numbers[n_tried:])
        progress("trying the graph", 1.0)
        self._imported = replace(imported, features=with_missing_allowed(imported.features, missing))
        self.schema, self._sampled = schema_of(self._imported.features, sample)
        self.unexplained = "a graph of operators cannot be explained: explanations need a tree ensemble"

    def prove(self, name: str, progress: Progress) -> tuple[dict[str, bytes], Manifest]:
        """Return the files and the manifest of the bundle; ParityError if the engine does not answer as the file does.

        Afterwards the schema contains how the graph treats infinities.
        """
        imported, meaning = self._imported, self._meaning
        entry = GraphEntry(imported.settings["output"], meaning.column, imported.settings["keys"], imported.operators)
        golden = graph_rows(imported, self.schema.features, self._sampled)
        proof = prove_graph(imported, self.schema, meaning, entry, golden, progress)
        self.schema = proof.schema
        size_bytes = len(imported.source) // 2
        n_stored = max(_MIN_STORED_ROWS, max(_MIN_STORED_BYTES, size_bytes) // (8 * proof.rows.shape[1]))
        kept = np.unique(np.linspace(0, len(proof.rows) - 1, n_stored).astype(np.int64))
        rows, margins = proof.rows[kept], proof.margins[kept]
        files = {
            ONNX_MODEL: imported.source,
            GOLDEN: encode_golden(Golden([proof.kinds[i] for i in kept.tolist()], rows, margins, margins)),
            GOLDEN_ROWS: golden_file(rows, margins, size_bytes=size_bytes // 2, most=proof.n_replayed),
        }
        return files, self._manifest(name, entry, proof)

    def _manifest(self, name: str, entry: GraphEntry, proof: GraphProof) -> Manifest:
        imported, meaning = self._imported, self._meaning
        return Manifest(
            format=FORMAT,
            name=name,
            task=meaning.task,
            objective=" ".join(list(imported.operators)[:_SHOWN_OPERATORS]),
            link=LinkEntry("identity"),
            classes=None if meaning.classes is None else list(meaning.classes),
            class_at_half=proof.class_at_half,
            predict_returns="label" if meaning.classes is not None and imported.labels_known else "value",
            n_features=len(self.schema.features),
            n_outputs=meaning.n_outputs,
            base=[],
            facts=None,
            graph=entry,
            libraries=library_versions("onnxruntime", proof.version),
            parity=proof.parity,
            precision="float64" if imported.is_double else "float32",
            covers="none",
            library="onnxruntime",
            notes=[*imported.notes, *meaning.notes, *proof.notes],
            files={},
        )


def _first(answers: GraphAnswers, n_rows: int) -> GraphAnswers:
    return replace(answers, numbers=answers.numbers[:n_rows], labels=answers.labels[:n_rows])

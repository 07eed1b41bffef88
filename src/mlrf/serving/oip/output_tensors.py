"""The outputs of a model: their names, which ones a request selects, and how tensors are computed from margins.

`prediction` is what the training library's `predict` returns: [n], or [n, K] for several outputs. For a multiclass model it is
named `probabilities`. `label` is a classifier's class. `predict` and `output-0`, which are the names of the first output in
MLServer and KServe, are what `predict` of the object that was built returns, which may be the label. Explanations
(`shap_values`, `shap_interactions`, `shap_base`) are computed only if they are requested by name.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final, Literal

import msgspec

from mlrf.core.errors import InvalidTensorError
from mlrf.core.feature import Category
from mlrf.core.repeated_names import first_repeated
from mlrf.core.value_text import clip, listed, shown_name
from mlrf.model.explanation_kinds import INTERACTIONS, Chosen, ExplanationKind, kind_name
from mlrf.model.leaves import has_leaves
from mlrf.model.row_predictor import RowPredictor
from mlrf.serving.oip.datatypes import FP64
from mlrf.serving.oip.messages import InferRequest, OutputTensor
from mlrf.serving.oip.output_values import data_of
from mlrf.serving.oip.tensor_reader import ALSO_KNOWN

Kind = Literal[
    "prediction", "probabilities", "label", "shap_values", "shap_interactions", "shap_base", "shap_bases", "leaves"
]
LABEL: Final = "label"
PREDICTION: Final = "prediction"
PROBABILITIES: Final = "probabilities"
SHAP_VALUES: Final = "shap_values"
SHAP_INTERACTIONS: Final = "shap_interactions"
SHAP_BASE: Final = "shap_base"
SHAP_BASES: Final = "shap_bases"
"""What `shap_base` is of rows with base margins: one for each row."""
LEAVES: Final = "leaves"
PREDICT_PROBA: Final = "predict_proba"
"""MLServer's name of `probabilities`."""
_LABEL_NAMES = ("predict", "output-0")
_FIRST_NAMES = frozenset((PREDICTION, *filter(None, ALSO_KNOWN.values())))
_EXPLANATIONS = frozenset((SHAP_VALUES, SHAP_INTERACTIONS, SHAP_BASE, SHAP_BASES))
_TAGS = {
    PREDICTION: b"p",
    PROBABILITIES: b"q",
    LABEL: b"l",
    SHAP_VALUES: b"s",
    SHAP_INTERACTIONS: b"i",
    SHAP_BASE: b"b",
    SHAP_BASES: b"B",
    LEAVES: b"t",
}


class RowValues(msgspec.Struct, frozen=True):
    """What n rows have besides their margins, where it is requested."""

    contributions: array[float] = array("d")
    """[n, F, K]"""
    interactions: array[float] = array("d")
    """[n, F, F, K]"""
    base: array[float] = array("d")
    """[K] where contributions start."""
    bases: array[float] = array("d")
    """[n, K] where the contributions of each row start, of rows with base margins."""
    leaves: array[float] = array("d")
    """[n, trees]"""


NO_VALUES = RowValues()


class OutputGame(msgspec.Struct, frozen=True):
    """A game of the bundle's."""

    chosen: Chosen
    """Its options."""
    n_players: int
    """How many contributions a row has."""


class RequestedOutputs(msgspec.Struct, frozen=True):
    """The outputs of a request, in their order: each with its name in the response, and its kind."""

    outputs: Sequence[tuple[str, Kind]]
    explains: bool
    """Whether they include explanations."""
    kind: ExplanationKind | None
    """Whether they include interactions, or explanations of another game."""
    reports_leaves: bool
    """Whether they include leaves."""
    tag: bytes
    """Identifies the result of `Outputs.pack` for the same rows, independent of the names in a request."""
    game: OutputGame | None = None
    """The game of the explanations; None: the path-dependent one of features."""


class Outputs:
    """The outputs of one model."""

    def __init__(self, model: RowPredictor) -> None:
        self._model = model
        self._k = model.engine.n_outputs
        self._n_features = model.engine.n_features
        is_multiclass = model.classes is not None and self._k > 1
        self._first: Kind = PROBABILITIES if is_multiclass else PREDICTION
        kinds: dict[str, Kind] = dict.fromkeys(_FIRST_NAMES, self._first)
        self._labels: tuple[str, list[bytes]] | None = None
        """The datatype of labels, and each class as an element of it."""
        if model.classes is not None:
            self._labels = _label_elements(model.classes)
            kinds |= {PROBABILITIES: PROBABILITIES, PREDICT_PROBA: PROBABILITIES, LABEL: LABEL}
            if model.bundle.manifest.predict_returns == "label":
                kinds |= dict.fromkeys(_LABEL_NAMES, LABEL)
        if hasattr(model.engine, "base"):
            kinds |= {SHAP_VALUES: SHAP_VALUES, SHAP_INTERACTIONS: SHAP_INTERACTIONS, SHAP_BASE: SHAP_BASE}
        if has_leaves(model.bundle, model.engine):
            kinds[LEAVES] = LEAVES
        self._kinds = kinds
        self._own: list[Kind] = [PROBABILITIES] if is_multiclass else [PREDICTION]
        if model.classes is not None:
            self._own = [self._first, LABEL] if is_multiclass else [PREDICTION, PROBABILITIES, LABEL]
        self.single = {name: requested_outputs([(name, kind)]) for name, kind in kinds.items()}
        self._default = {name: requested_outputs([(name, kinds[name])]) for name in (self._first, *_FIRST_NAMES)}

    @property
    def engine(self) -> str:
        """The name of the engine."""
        return self._model.engine.name

    def described(self) -> list[dict[str, Any]]:
        """Return the outputs for the metadata: name, datatype, shape and description of each."""
        return [
            {
                "name": kind,
                "datatype": FP64.name if kind != LABEL or self._labels is None else self._labels[0],
                "shape": [-1, *self._shape(kind, 0)[1:]],
                "parameters": {"description": self._description(kind)},
            }
            for kind in self._own
        ]

    def _description(self, kind: Kind) -> str:
        classes = [clip(str(label)) for label in self._model.classes or ()]
        match kind:
            case "label":
                return f"the predicted class, one of {listed(classes)}"
            case "probabilities":
                return f"the probability of each class, in the order {listed(classes)}"
            case _ if classes:
                return f"the probability of the class {classes[1]}"
        return "what predict of the training library returns"

    def on_demand(self) -> list[str]:
        """Return the names of the outputs that are returned only if named, and that the metadata omits."""
        return [name for name in (SHAP_VALUES, SHAP_INTERACTIONS, SHAP_BASE, LEAVES) if name in self._kinds]

    def requested(self, request: InferRequest, *, has_bases: bool = False) -> RequestedOutputs:
        """Return the outputs of a request; InvalidTensorError for an unknown name, NotExplainableError for a graph.

        A request without names gets the first output, under the name that other servers use for the output of such an input.
        `has_bases`: whether the request has base margins, so that each row has its own base.
        """
        if has_bases and SHAP_BASE in request.outputs:
            kinds = [
                (name, SHAP_BASES if name == SHAP_BASE else kind) for name, kind in self.requested(request).outputs
            ]
            return requested_outputs(kinds)
        if not request.outputs:
            inputs = request.inputs
            return self.default(inputs[0].name if len(inputs) == 1 else "")
        names = request.outputs
        if len(names) == 1 and names[0] in self.single:
            return self.single[names[0]]
        for name in names:
            kind = self._kinds.get(name)
            if kind is None:
                if name in _EXPLANATIONS:
                    self._model.explainer()
                if name == LEAVES:
                    self._model.leaves()
                offered = ", ".join([*self._own, *self.on_demand()])
                raise InvalidTensorError(
                    f"output {shown_name(name)} is not an output of this model; "
                    f"request {offered}, or no outputs for {self._first} alone",
                    output=clip(name),
                )
        if (twice := first_repeated(names)) is not None:
            raise InvalidTensorError(f"output {shown_name(twice)} is requested twice; name it once", output=clip(twice))
        return requested_outputs([(name, self._kinds[name]) for name in names])

    def default(self, input_name: str) -> RequestedOutputs:
        """Return the output of a request without names of outputs, whose only input has this name; empty for several."""
        return self._default[ALSO_KNOWN.get(input_name, "") or self._first]

    def pack(self, requested: RequestedOutputs, margins: array[float], values: RowValues) -> bytes:
        """Return the data of n rows' tensors, one after the other.

        NonFiniteResultError names the row whose prediction is not a finite number.
        """
        predictions = self._model.predictions(margins)
        if len(requested.outputs) == 1:
            return self._data(requested.outputs[0][1], predictions, values)
        return b"".join([self._data(kind, predictions, values) for _, kind in requested.outputs])

    def _tensor(self, name: str, kind: Kind, shape: list[int], packed: bytes) -> OutputTensor:
        if kind == LEAVES:
            return OutputTensor(name, "INT32", shape, array("i", map(int, FP64.values_of(packed))).tobytes())
        if kind != LABEL or self._labels is None:
            return OutputTensor(name, FP64.name, shape, packed)
        datatype, elements = self._labels
        indices = FP64.values_of(packed)
        return OutputTensor(name, datatype, shape, b"".join([elements[int(index)] for index in indices]))

    def unpack(self, requested: RequestedOutputs, packed: bytes, n_rows: int) -> list[OutputTensor]:
        """Return the tensors of n rows, each with its name in the request."""
        if len(requested.outputs) == 1:
            name, kind = requested.outputs[0]
            if kind == PREDICTION and self._k == 1:
                return [OutputTensor(name, FP64.name, [n_rows], packed)]
            return [self._tensor(name, kind, self._shape(kind, n_rows, requested.game), packed)]
        tensors, start = [], 0
        for name, kind in requested.outputs:
            shape = self._shape(kind, n_rows, requested.game)
            end = start + math.prod(shape) * FP64.width
            tensors.append(self._tensor(name, kind, shape, packed[start:end]))
            start = end
        return tensors

    def _shape(self, kind: Kind, n: int, game: OutputGame | None = None) -> list[int]:
        k = self._k
        n_players = self._n_features if game is None else game.n_players
        match kind:
            case "prediction" | "shap_bases":
                return [n] if k == 1 else [n, k]
            case "label":
                return [n]
            case "probabilities":
                return [n, max(k, 2)]
            case "shap_values" | "shap_interactions":
                features = [n_players] * (1 if kind == SHAP_VALUES else 2)
                return [n, *features] if k == 1 else [n, *features, k]
            case "shap_base":
                return [k]
            case "leaves":
                return [n, self._model.leaves().n_trees]

    def _data(self, kind: Kind, predictions: Sequence[Any], values: RowValues) -> bytes:
        """Return one tensor; `predictions` are numbers, or lists of K numbers."""
        match kind:
            case "label":
                # Indices of classes, so that the cache stores eight bytes a row however long the labels are.
                numbers = array("d", self._model.class_indices(predictions))
            case "prediction" | "probabilities" if self._k > 1:
                numbers = array("d", chain.from_iterable(predictions))
            case "prediction":
                numbers = array("d", predictions)
            case "probabilities":
                pairs = ((1.0 - p, p) for p in predictions)
                numbers = array("d", chain.from_iterable(pairs))
            case "shap_values":
                numbers = values.contributions
            case "shap_interactions":
                numbers = values.interactions
            case "shap_base":
                numbers = values.base
            case "shap_bases":
                numbers = values.bases
            case "leaves":
                numbers = values.leaves
        return numbers.tobytes()


def requested_outputs(outputs: Sequence[tuple[str, Kind]], game: OutputGame | None = None) -> RequestedOutputs:
    """Return outputs, each with its name in the response; `game` is that of their explanations."""
    kinds = [kind for _, kind in outputs]
    explains = not _EXPLANATIONS.isdisjoint(kinds)
    kind: ExplanationKind | None = INTERACTIONS if SHAP_INTERACTIONS in kinds else None
    tag = b"".join(_TAGS[kind] for kind in kinds)
    if game is not None:
        kind = kind_name(game.chosen)
        tag = b"~%b~%b" % (",".join(game.chosen).encode(), tag)
    return RequestedOutputs(outputs, explains, kind, LEAVES in kinds, tag, game)


def _label_elements(classes: Sequence[Category]) -> tuple[str, list[bytes]]:
    """Return the datatype that holds every label, and the bytes of each as an element of it."""
    kinds = {type(label) for label in classes}
    if kinds == {bool}:
        datatype = "BOOL"
    elif kinds == {int} and all(abs(int(label)) < 1 << 63 for label in classes):
        datatype = "INT64"
    else:
        datatype = FP64.name if kinds <= {int, float} else "BYTES"
    return datatype, [data_of(datatype, [label]) for label in classes]

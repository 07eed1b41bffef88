"""The outputs of a model: which there are, which a request wants, and how their tensors are made of margins.

`prediction` is what the training library's `predict` returns, [n], or [n, K] of several outputs; a multiclass model calls it
`probabilities`. Reasons (`shap_values`, `shap_base`) are made only where they are named, and cost nothing elsewhere.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import chain
from typing import Final, Literal, NamedTuple, cast

from mlrf.core.errors import InvalidTensorError
from mlrf.core.schema import clip, shown_name
from mlrf.model import Model
from mlrf.serving.inference.datatypes import FP64
from mlrf.serving.inference.messages import InferRequest, OutputTensor
from mlrf.serving.inference.reading import ALSO_KNOWN

Kind = Literal["prediction", "probabilities", "shap_values", "shap_base"]
PREDICTION: Final = "prediction"
PROBABILITIES: Final = "probabilities"
SHAP_VALUES: Final = "shap_values"
SHAP_BASE: Final = "shap_base"
_FIRST_NAMES = frozenset((PREDICTION, *filter(None, ALSO_KNOWN.values())))
_MOST_OUTPUTS = 16


class Wanted(NamedTuple):
    """An output that a request wants, under the name that it gives it."""

    name: str
    kind: Kind

    @property
    def explains(self) -> bool:
        """Whether it is of the reasons."""
        return self.kind in (SHAP_VALUES, SHAP_BASE)


class Outputs:
    """The outputs of one model."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._k = model.engine.n_outputs
        self._n_features = model.engine.n_features
        is_multiclass = model.classes is not None and self._k > 1
        self._first: Kind = PROBABILITIES if is_multiclass else PREDICTION
        kinds: dict[str, Kind] = dict.fromkeys(_FIRST_NAMES, self._first)
        if model.classes is not None:
            kinds[PROBABILITIES] = PROBABILITIES
        if hasattr(model.engine, "base"):
            kinds |= {SHAP_VALUES: SHAP_VALUES, SHAP_BASE: SHAP_BASE}
        self._kinds = kinds
        self._own = [self._first] if is_multiclass or model.classes is None else [PREDICTION, PROBABILITIES]
        self._default = {name: (Wanted(name, self._first),) for name in (self._first, *_FIRST_NAMES)}

    @property
    def engine(self) -> str:
        """The name of the engine that answers."""
        return self._model.engine.name

    def described(self) -> list[dict[str, object]]:
        """Return the outputs as metadata tell them: name, datatype and shape."""
        shapes = {PREDICTION: [-1] if self._k == 1 else [-1, self._k]}
        n_classes = len(self._model.classes or ())
        shapes[PROBABILITIES] = [-1, n_classes]
        return [{"name": name, "datatype": FP64.name, "shape": shapes[name]} for name in self._own]

    def on_demand(self) -> list[str]:
        """Return the names of the outputs that only those who name them get, and that metadata leave out."""
        return [name for name in (SHAP_VALUES, SHAP_BASE) if name in self._kinds]

    def wanted(self, request: InferRequest) -> Sequence[Wanted]:
        """Return what a request wants; InvalidTensorError for a name of no output.

        Who names nothing gets the first output, in the words of the server that the input's name is from.
        """
        if not request.outputs:
            inputs = request.inputs
            name = ALSO_KNOWN.get(inputs[0].name, "") if len(inputs) == 1 else ""
            return self._default[name or self._first]
        wanted = []
        for name in request.outputs:
            kind = self._kinds.get(name)
            if kind is None:
                there = ", ".join([*self._own, *self.on_demand()])
                raise InvalidTensorError(
                    f"output {shown_name(name)} is none of this model's; ask for {there}, or name no output",
                    output=clip(name),
                )
            wanted.append(Wanted(name, kind))
        if len(set(wanted)) != len(wanted) or len(wanted) > _MOST_OUTPUTS:
            twice = next((each.name for each in wanted if wanted.count(each) > 1), wanted[-1].name)
            raise InvalidTensorError(f"output {shown_name(twice)} is asked for twice; name it once", output=clip(twice))
        return wanted

    def make(
        self, wanted: Sequence[Wanted], margins: array[float], contributions: array[float] | None, n_rows: int
    ) -> list[OutputTensor]:
        """Return the tensors of n rows; NonFiniteResultError names the row whose prediction is no finite number."""
        predictions = self._model.predictions(margins)
        return [self._tensor(each, predictions, contributions, n_rows) for each in wanted]

    def _tensor(
        self, wanted: Wanted, predictions: Sequence[float | list[float]], contributions: array[float] | None, n: int
    ) -> OutputTensor:
        k = self._k
        match wanted.kind:
            case "prediction" | "probabilities" if k > 1:
                numbers = array("d", chain.from_iterable(cast("list[list[float]]", predictions)))
                shape = [n, k]
            case "prediction":
                numbers, shape = array("d", cast("list[float]", predictions)), [n]
            case "probabilities":
                pairs = ((1.0 - p, p) for p in cast("list[float]", predictions))
                numbers, shape = array("d", chain.from_iterable(pairs)), [n, 2]
            case "shap_values":
                numbers = array("d") if contributions is None else contributions
                shape = [n, self._n_features] if k == 1 else [n, self._n_features, k]
            case "shap_base":
                numbers, shape = array("d", self._model.explainer().base), [k]
        return OutputTensor(wanted.name, FP64.name, shape, numbers.tobytes())

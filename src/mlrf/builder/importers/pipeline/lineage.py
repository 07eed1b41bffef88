"""The raw column behind each column of the model's input matrix, step by step.

Steps are recognised by class: each maps columns to columns, and states its requirements. A step that is not
listed here is refused with an error that names it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mlrf.builder.importers.pipeline.encoder_package import FOLDED_ENCODERS, MODULE, encoded_columns
from mlrf.builder.importers.pipeline.function_steps import check_function, check_order, described, is_exact, is_total
from mlrf.builder.model_source import unfrozen
from mlrf.core.errors import ModelUnreadableError, UnsupportedModelError

_ONNX = (
    "export the whole pipeline to ONNX and build from that (skl2onnx.to_onnx(pipeline, X[:1]), where X is a float32 array or, "
    "before a ColumnTransformer, a frame), or apply this step before sending rows and build from the steps after it"
)


@dataclass(frozen=True, slots=True)
class Column:
    """One column as it passes through the steps."""

    raw: int
    """The raw column that it is a function of."""
    is_raw: bool = True
    """Whether it still has the caller's own values; missing ones may have been filled."""
    is_monotone: bool = True
    """Whether it never decreases when the raw number increases."""
    is_stepped: bool = False
    """Whether it is constant between two neighbouring cut points that the steps themselves name (see `Use`)."""
    is_exact: bool = True
    """Whether it is the same number on every processor."""
    is_total: bool = True
    """Whether it is finite for every finite raw number."""
    filled_by: str | None = None
    """The step that has filled its missing values."""


@dataclass(slots=True)
class Use:
    """The requirements of the steps on one raw column."""

    categories: list[Any] = field(default_factory=list)
    """The category arrays of the encoders that read it."""
    bin_edges: list[Any] = field(default_factory=list)
    """The inner edges of its bins."""
    is_number: bool = False
    """Whether a step, or the model, reads it as a number."""
    none_is_missing: bool = False
    """Whether a step treats None as missing, and not NaN."""
    placeholders: list[Any] = field(default_factory=list)
    """Values that an imputer replaces, other than NaN and None."""
    encoded_late: str | None = None
    """The step that makes a column for each value of it, but only after another step has changed its numbers."""


@dataclass(frozen=True, slots=True)
class Lineage:
    """The columns of the matrix, and the uses of every raw column."""

    columns: tuple[Column, ...]
    uses: tuple[Use | None, ...]
    """By raw column; None if no step needs it."""
    functions: tuple[str, ...] = ()
    """What the steps apply whose results differ between processors."""


def trace_columns(steps: Sequence[tuple[str, Any]], n_raw: int) -> Lineage:
    """Return the lineage of the columns behind fitted steps over `n_raw` columns.

    UnsupportedModelError names a step that cannot be folded.
    """
    tracer = _Tracer(n_raw)
    try:
        columns = tracer.steps(steps, [Column(raw) for raw in range(n_raw)])
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ModelUnreadableError(f"a step of the pipeline is not fitted or damaged: {error}") from error
    for column in columns:
        if column.is_raw:
            tracer.use(column).is_number = True
    uses = tuple(tracer.uses.get(raw) for raw in range(n_raw))
    return Lineage(tuple(columns), uses, tuple(dict.fromkeys(tracer.functions)))


class _Tracer:
    def __init__(self, n_raw: int) -> None:
        self.uses: dict[int, Use] = {}
        self.functions: list[str] = []
        self._n_raw = n_raw

    def use(self, column: Column) -> Use:
        return self.uses.setdefault(column.raw, Use())

    def steps(self, steps: Sequence[tuple[str, Any]], columns: list[Column]) -> list[Column]:
        for name, step in steps:
            columns = self.step(name, step, columns)
        return columns

    def step(self, name: str, step: Any, columns: list[Column]) -> list[Column]:
        if step is None or (isinstance(step, str) and step == "passthrough"):
            return columns
        if isinstance(step, str):
            return []
        step = unfrozen(step)
        kind = type(step).__name__
        if type(step).__module__.startswith("sklearn."):
            if kind in _FOLDERS:
                return _FOLDERS[kind](self, name, step, columns)
            if hasattr(step, "get_support") and type(step).__module__.startswith("sklearn.feature_selection."):
                return [column for column, kept in zip(columns, step.get_support(), strict=True) if kept]
        if type(step).__module__.startswith(MODULE) and kind in FOLDED_ENCODERS:
            return _by_package(self, name, step, columns)
        if type(step).__module__.startswith(MODULE):
            raise UnsupportedModelError(
                f"the pipeline's step {name!r} ({kind} of category_encoders) cannot be folded into trees over the raw columns; "
                f"train it with one of {', '.join(FOLDED_ENCODERS)}, or apply this step before sending rows and build from the "
                "steps after it",
                step=name,
            )
        raise UnsupportedModelError(
            f"the pipeline's step {name!r} ({kind}) cannot be folded into trees over the raw columns; {_ONNX}",
            step=name,
        )

    def number(self, columns: list[Column]) -> None:
        for column in columns:
            if column.is_raw:
                self.use(column).is_number = True


_Step = Callable[[_Tracer, str, Any, list[Column]], list[Column]]


def _monotone(tracer: _Tracer, _name: str, step: Any, columns: list[Column]) -> list[Column]:
    tracer.number(columns)
    if not is_exact(step):
        tracer.functions.append(described(step))
    return [
        replace(
            column,
            is_raw=False,
            is_exact=column.is_exact and is_exact(step),
            is_total=column.is_total and is_total(step),
        )
        for column in columns
    ]


def _bins(tracer: _Tracer, name: str, step: Any, columns: list[Column]) -> list[Column]:
    tracer.number(columns)
    is_ordinal = step.encode == "ordinal"
    found = []
    for column, edges, n_bins in zip(columns, step.bin_edges_, step.n_bins_, strict=True):
        use = tracer.use(column)
        if column.is_raw:
            use.bin_edges.append(edges[1:-1])
        elif not is_ordinal and not column.is_stepped:
            use.encoded_late = name
        binned = replace(
            column,
            is_raw=False,
            is_monotone=column.is_monotone and is_ordinal,
            is_stepped=column.is_stepped or column.is_raw,
        )
        found += [binned] * (1 if is_ordinal else int(n_bins))
    return found


def _function(tracer: _Tracer, name: str, step: Any, columns: list[Column]) -> list[Column]:
    if step.func is None:
        return columns
    check_function(name, step)
    return _monotone(tracer, name, step, columns)


def _imputer(tracer: _Tracer, name: str, step: Any, columns: list[Column]) -> list[Column]:
    check_order(name, step, are_total=all(column.is_total for column in columns))
    for column in columns:
        use = tracer.use(column)
        if step.missing_values is None:
            use.none_is_missing = True
        elif not _is_nan(step.missing_values):
            use.placeholders.append(step.missing_values)
            if column.is_raw is False or not isinstance(step.missing_values, str):
                raise UnsupportedModelError(
                    f"the pipeline's step {name!r} (SimpleImputer) reads {step.missing_values!r} as missing; train it with "
                    "missing_values=nan, and send null where a value is missing",
                    step=name,
                )
    statistics = np.asarray(step.statistics_, object)
    kept = [step.keep_empty_features or not _is_nan(value) for value in statistics]
    pairs = zip(columns, kept, strict=True)
    filled = [replace(column, filled_by=name) for column, is_kept in pairs if is_kept]
    if step.indicator_ is None:
        return filled
    return filled + _indicators(tracer, name, step.indicator_, columns)


def _indicators(tracer: _Tracer, name: str, step: Any, columns: list[Column]) -> list[Column]:
    check_order(name, step, are_total=all(column.is_total for column in columns))
    chosen = [columns[int(index)] for index in step.features_]
    for column in chosen:
        use = tracer.use(column)
        use.none_is_missing |= step.missing_values is None
    return [replace(column, is_raw=False) for column in chosen]


def _encoder(tracer: _Tracer, name: str, step: Any, columns: list[Column], widths: Sequence[int]) -> list[Column]:
    encoded = zip(columns, step.categories_, widths, strict=True)
    return [
        column for given, categories, width in encoded for column in _encoded(tracer, name, given, categories, width)
    ]


def _by_package(tracer: _Tracer, name: str, step: Any, columns: list[Column]) -> list[Column]:
    found: list[Column] = []
    for column, encoded in zip(columns, encoded_columns(name, step), strict=True):
        if encoded.categories is None:
            found.append(column)
        else:
            found += _encoded(tracer, name, column, encoded.categories, encoded.width)
    return found


def _encoded(tracer: _Tracer, name: str, column: Column, categories: Any, width: int) -> list[Column]:
    """Return the columns that an encoder makes of one column."""
    use = tracer.use(column)
    if column.is_raw:
        use.categories.append(categories)
    elif not column.is_stepped:
        use.encoded_late = name
    made = replace(column, is_raw=False, is_monotone=False, is_stepped=column.is_stepped or column.is_raw)
    return [made] * int(width)


def _one_hot(tracer: _Tracer, name: str, step: Any, columns: list[Column]) -> list[Column]:
    return _encoder(tracer, name, step, columns, step._n_features_outs)  # noqa: SLF001  scikit-learn shows it in names alone


def _ordinal(tracer: _Tracer, name: str, step: Any, columns: list[Column]) -> list[Column]:
    return _encoder(tracer, name, step, columns, [1] * len(columns))


def _target(tracer: _Tracer, name: str, step: Any, columns: list[Column]) -> list[Column]:
    width = len(step.classes_) if step.target_type_ == "multiclass" else 1
    return _encoder(tracer, name, step, columns, [width] * len(columns))


def _pipeline(tracer: _Tracer, _name: str, step: Any, columns: list[Column]) -> list[Column]:
    return tracer.steps(step.steps, columns)


def _union(tracer: _Tracer, _name: str, step: Any, columns: list[Column]) -> list[Column]:
    return [column for name, part in step.transformer_list for column in tracer.step(name, part, columns)]


def _by_column(tracer: _Tracer, _name: str, step: Any, columns: list[Column]) -> list[Column]:
    chosen = step._transformer_to_input_indices  # noqa: SLF001  `transformers_` may name columns by a function
    found: list[Column] = []
    for name, part, _ in step.transformers_:
        given = [columns[int(index)] for index in chosen.get(name, [])]
        if given:
            found += tracer.step(name, part, given)
    return found


def _is_nan(value: Any) -> bool:
    return isinstance(value, float | np.floating) and value != value  # noqa: PLR0124  NaN alone


_FOLDERS: dict[str, _Step] = {
    **dict.fromkeys(
        (
            *("StandardScaler", "MinMaxScaler", "MaxAbsScaler", "RobustScaler", "Binarizer"),
            *("PowerTransformer", "QuantileTransformer"),
        ),
        _monotone,
    ),
    "KBinsDiscretizer": _bins,
    "FunctionTransformer": _function,
    "SimpleImputer": _imputer,
    "MissingIndicator": _indicators,
    "OneHotEncoder": _one_hot,
    "OrdinalEncoder": _ordinal,
    "TargetEncoder": _target,
    "Pipeline": _pipeline,
    "FeatureUnion": _union,
    "ColumnTransformer": _by_column,
}
FOLDED_STEPS = frozenset(_FOLDERS)
"""The classes of scikit-learn that are folded, except feature selection."""

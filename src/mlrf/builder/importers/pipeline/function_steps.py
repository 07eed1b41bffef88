"""Steps that apply a function such as log to each number: which are folded, and how far processors differ in them.

NumPy, SciPy and the C library compute these functions in several ways, chosen by the processor's features, whose results differ
in their last bits. A shifted step returns the most, or the least, that its results may be: every processor's results are
between those of two shifted steps.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from mlrf.builder.importers.pipeline.stored_encoders import converted_steps
from mlrf.core.errors import UnsupportedModelError

_EXACT = ("sqrt", "floor", "ceil", "trunc", "rint", "sign")
_INEXACT = ("log", "log1p", "log2", "log10", "exp", "expm1", "exp2", "cbrt", "arcsinh", "arctan", "tanh")
FOLDED_FUNCTIONS = (*_INEXACT, *_EXACT)
"""NumPy's functions that never decrease and are folded."""
_TOTAL = frozenset(("floor", "ceil", "trunc", "rint", "sign", "cbrt", "arcsinh", "arctan", "tanh"))
"""Those that are finite for every finite number."""
_ULPS = 8
"""Measured between AVX-512, AVX2 and plain x86-64: at most 3, and 1.3 times the amplification for powers."""
_RELATIVE = _ULPS * 2.0**-52


def function_name(step: Any) -> str | None:
    """Return the name of the function in NumPy that a fitted FunctionTransformer applies; None if it is not folded."""
    if getattr(step, "kw_args", None):
        return None
    return next((name for name in FOLDED_FUNCTIONS if step.func is getattr(np, name)), None)


def check_function(name: str, step: Any) -> None:
    """Refuse a FunctionTransformer whose function is not folded."""
    if function_name(step) is None:
        options = f" with kw_args={step.kw_args!r}" if step.kw_args else ""
        raise UnsupportedModelError(
            f"the pipeline's step {name!r} (FunctionTransformer) applies "
            f"{getattr(step.func, '__name__', step.func)!r}{options}, which mlrf neither runs nor folds; if it is one of "
            f"NumPy's {', '.join(FOLDED_FUNCTIONS)}, give the step that function itself (step.set_params(func=numpy.log1p)); "
            "otherwise apply it before sending rows, and build from the steps after it",
            step=name,
        )


def check_order(name: str, step: Any, *, are_total: bool) -> None:
    """Refuse to fill numbers that a function has made missing, such as the logarithm of -1."""
    if not are_total:
        raise UnsupportedModelError(
            f"the pipeline's step {name!r} ({type(step).__name__}) comes after a function that may itself make numbers missing "
            "(log, sqrt), which cannot be folded; put it before that function, and train the pipeline again",
            step=name,
        )


def is_exact(step: Any) -> bool:
    """Whether a step of numbers has the same result on every processor."""
    kind = type(step).__name__
    if kind == "FunctionTransformer":
        return step.func is None or function_name(step) in _EXACT
    return kind != "PowerTransformer" and not (kind == "QuantileTransformer" and step.output_distribution == "normal")


def is_total(step: Any) -> bool:
    """Whether a step of numbers has a finite result for every finite number."""
    kind = type(step).__name__
    if kind == "FunctionTransformer":
        return step.func is None or function_name(step) in _TOTAL
    return kind != "PowerTransformer"


def described(step: Any) -> str:
    """Return what an inexact step applies, for messages."""
    kind = type(step).__name__
    if kind == "FunctionTransformer":
        return f"numpy.{function_name(step)}"
    return f"{kind}({step.method})" if kind == "PowerTransformer" else f"{kind}({step.output_distribution})"


def shifted_steps(steps: Any, direction: int) -> Any:
    """Return fitted steps whose inexact steps return the most (direction 1) or the least (-1) that they may."""
    return converted_steps(steps, lambda step: _shifted(step, direction))


def _shifted(step: Any, direction: int) -> Any:
    if not type(step).__module__.startswith("sklearn.preprocessing.") or isinstance(step, type) or is_exact(step):
        return step
    kind = type(step).__name__
    if kind == "PowerTransformer":
        return _shifted_power(step, direction)
    copied = copy.copy(step)
    if kind == "FunctionTransformer":
        function = step.func
        copied.func = lambda numbers: _moved(function(numbers), direction * _RELATIVE)
    else:
        copied.transform = lambda numbers: _moved(step.transform(numbers), direction * _RELATIVE)
    return copied


def _shifted_power(step: Any, direction: int) -> Any:
    plain, copied = copy.copy(step), copy.copy(step)
    plain.standardize = False
    # Versions before 1.9 subtract 1 from a power, in which small results lose their digits.
    lost = _RELATIVE if step.method == "yeo-johnson" and hasattr(step, "_yeo_johnson_transform") else 0.0

    def transform(numbers: Any) -> Any:
        found = plain.transform(numbers)
        values = np.array(found, np.float64)
        for column, exponent in enumerate(step.lambdas_.tolist()):
            value = values[:, column]
            own = np.where(value < 0, 2.0 - exponent, exponent) if step.method == "yeo-johnson" else exponent
            # The relative error of a power grows with the logarithm of its result.
            growth = np.log1p(np.maximum(np.abs(own * value) if step.method == "yeo-johnson" else own * value, 0.0))
            values[:, column] = _moved(value, direction * _RELATIVE * (1.0 + growth))
            values[:, column] += direction * lost / np.maximum(np.abs(own), 1e-3)
        values = step._scaler.transform(values) if step.standardize else values  # noqa: SLF001  it has no other name
        if not hasattr(found, "iloc"):
            return values
        import pandas as pd  # noqa: PLC0415  the step returns a frame

        return pd.DataFrame(values, index=found.index, columns=found.columns)

    copied.transform = transform
    return copied


def _moved(values: Any, relative: Any) -> Any:
    """Return numbers moved by a share of their size, up if it is positive; infinities and NaN stay."""
    return values * (1.0 + relative * np.sign(values))

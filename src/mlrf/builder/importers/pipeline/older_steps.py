"""Steps that an older scikit-learn fitted: sets the attributes that this version has added since.

A parameter gets its default, which is what the older version did. Golden rows compare the steps with the folded forest, so a
step that means something else in this version can differ from its training only where scikit-learn itself does.
"""

from __future__ import annotations

import inspect
from typing import Any


def complete(step: Any) -> None:
    """Set missing parameters of a fitted step, and of the steps in it, to their defaults; other attributes stay."""
    for part in _parts(step):
        complete(part)
    if not type(step).__module__.startswith("sklearn."):
        return
    for name, parameter in inspect.signature(type(step).__init__).parameters.items():
        if parameter.default is not parameter.empty and not hasattr(step, name):
            setattr(step, name, parameter.default)
    if type(step).__name__ == "SimpleImputer" and hasattr(step, "statistics_"):
        for name in ("_fit_dtype", "_fill_dtype"):
            if not hasattr(step, name):
                setattr(step, name, step.statistics_.dtype)


def _parts(step: Any) -> list[Any]:
    listed = [
        each for name in ("steps", "transformer_list", "transformers_") for each in getattr(step, name, None) or ()
    ]
    return [each[1] for each in listed if not isinstance(each[1], str)]

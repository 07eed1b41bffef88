"""The child process that computes the training library's answers: `python -m` with MODULE FOLDER THREADS PARENT UNUSED.

MODULE is the `reference` module of an importer. Its `answer(model, rows, prediction_rows, settings, threads)` takes the path
of the model in the library's own format, rows [n, F], the rows to predict too [w, F], and the importer's settings; it returns
margins [n, K], predictions [w, K] and the library's version. FOLDER holds `model`, `settings.json` and the arrays; UNUSED names
packages that the library can do without, separated by commas. A crash, a hang or a library that is not installed ends this
process and no other.

Rows that hold infinities are predicted last, and in groups: a library refuses a table for one row of it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from mlrf.builder.parity.sparse_rows import SparseRows
from mlrf.core.forest import F64, Bool
from mlrf.core.parent_death import die_with_parent

NOT_INSTALLED, REFUSED, OUT_OF_MEMORY = 65, 66, 67
"""Exit statuses: the library cannot be imported, it raised an error, memory ran out."""
INFINITE_ROWS, INFINITE_ANSWERS, VERSION = "infinite.npy", "infinite_answers.npz", "version"
"""The files of rows that hold infinities and of their answers, and of the library's version, written before these answers."""
_MOST_CALLS = 48
"""Calls for the rows of infinities: what is refused and not tried again counts as refused."""


def main(argv: list[str]) -> int:
    """Compute the results for the rows in a folder."""
    module, name, threads, parent, unused = argv
    die_with_parent(int(parent))
    folder = Path(name)
    try:
        answer = import_without(module, [name for name in unused.split(",") if name]).answer
    except (ImportError, OSError) as error:
        print(error, file=sys.stderr)
        return NOT_INSTALLED
    try:
        (folder / VERSION).write_text(_answer_rows(answer, folder, int(threads)), encoding="utf-8")
        if (folder / INFINITE_ROWS).exists():
            _answer_infinities(answer, folder, int(threads))
    except MemoryError:
        return OUT_OF_MEMORY
    except Exception as error:  # noqa: BLE001  a library may raise anything
        print(f"{type(error).__name__}: {error}" if str(error).strip() else type(error).__name__, file=sys.stderr)
        return REFUSED
    return 0


def import_without(module: str, packages: Sequence[str]) -> ModuleType:
    """Import a module while these packages cannot be imported; with them where the module needs one.

    LightGBM and XGBoost import pandas and scikit-learn if they are there: that is four fifths of the time of their import.
    """
    hidden: dict[str, Any] = {name: None for name in packages if name not in sys.modules}
    sys.modules.update(hidden)
    try:
        return import_module(module)
    except ImportError:
        if not hidden:
            raise
    finally:
        for name in hidden:
            sys.modules.pop(name, None)
    return import_module(module)


def _answer_rows(answer: Any, folder: Path, threads: int) -> str:
    """Write the answers to the rows of a folder, block by block; return the library's version."""
    rows = SparseRows.load(folder)
    prediction_indices = np.load(folder / "prediction_indices.npy", allow_pickle=False)
    settings = json.loads((folder / "settings.json").read_bytes())
    margins, predictions = [], []
    for first, table in rows.blocks():
        chosen = prediction_indices[(prediction_indices >= first) & (prediction_indices < first + len(table))] - first
        # Libraries do not accept tables without rows.
        subset = table[chosen] if len(chosen) else table[:1]
        some, of_chosen, version = answer(folder / "model", table, subset, settings, threads)
        margins.append(np.reshape(some, (len(table), -1)))
        predictions.append(np.reshape(of_chosen, (len(subset), -1))[: len(chosen)])
    np.save(folder / "margins.npy", np.concatenate(margins), allow_pickle=False)
    np.save(folder / "predictions.npy", np.concatenate(predictions), allow_pickle=False)
    return str(version)


def _answer_infinities(answer: Any, folder: Path, threads: int) -> None:
    """Write the margins of the rows that hold infinities, and which rows the library answered."""
    rows = np.load(folder / INFINITE_ROWS, allow_pickle=False)
    settings = json.loads((folder / "settings.json").read_bytes())

    def predict(part: F64) -> F64 | None:
        try:
            return np.reshape(answer(folder / "model", part, part[:1], settings, threads)[0], (len(part), -1))
        except Exception:  # noqa: BLE001  whatever it raises, it refuses the rows
            return None

    answered, margins = run_in_parts(predict, rows)
    np.savez(folder / INFINITE_ANSWERS, answered=answered, margins=margins)


def run_in_parts(predict: Callable[[F64], F64 | None], rows: F64, most_calls: int = _MOST_CALLS) -> tuple[Bool, F64]:
    """Return which rows [n, F] are answered [n] and their margins [n, K]; `predict` returns None for a refused table."""
    answered = np.zeros(len(rows), np.bool_)
    margins = np.full((len(rows), 1), np.nan)
    calls = 0
    waiting = [np.arange(len(rows))]
    while waiting and calls < most_calls:
        part = waiting.pop(0)
        found = predict(rows[part])
        calls += 1
        if found is not None:
            if margins.shape[1] != found.shape[1]:
                margins = np.full((len(rows), found.shape[1]), np.nan)
            margins[part], answered[part] = found, True
        elif len(part) > 1:
            if calls == 1 and not _answers_one_of(predict, rows, part[[0, len(part) // 2, -1]]):
                break
            waiting += np.array_split(part, 2)
    return answered, margins


def _answers_one_of(predict: Callable[[F64], F64 | None], rows: F64, some: Any) -> bool:
    """Whether one of some rows is answered alone: a library that refuses all of them refuses every infinity."""
    return any(predict(rows[[row]]) is not None for row in some.tolist())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

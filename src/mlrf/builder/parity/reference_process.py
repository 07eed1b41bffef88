"""The training library's margins and predictions, from a child process: `python -m` with MODULE FOLDER THREADS PARENT UNUSED.

MODULE is the `reference` module of an importer. Its `answer(model, rows, wanted, settings, threads)` takes the path of the
model in the library's own format, rows [n, F], the rows to predict too [w, F], and the importer's settings; it returns
margins [n, K], predictions [w, K] and the library's version. FOLDER holds `model`, `settings.json` and the arrays; UNUSED names
packages that the library can do without, separated by commas. A crash, a hang or a library that is not installed ends this
process and no other.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from mlrf.builder.parity.sparse_rows import SparseRows

NOT_INSTALLED, REFUSED, OUT_OF_MEMORY = 65, 66, 67
"""The exit statuses that say that the library cannot be imported, that it raised an error, and that memory ran out."""
_PR_SET_PDEATHSIG = 1


def main(argv: list[str]) -> int:
    """Compute the results for the rows in a folder."""
    module, name, threads, parent, unused = argv
    _die_with_parent(int(parent))
    folder = Path(name)
    try:
        answer = import_without(module, [name for name in unused.split(",") if name]).answer
    except (ImportError, OSError) as error:
        print(error, file=sys.stderr)
        return NOT_INSTALLED
    try:
        print(_answer_rows(answer, folder, int(threads)))
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
    wanted = np.load(folder / "wanted.npy", allow_pickle=False)
    settings = json.loads((folder / "settings.json").read_bytes())
    margins, predictions = [], []
    for first, table in rows.blocks():
        chosen = wanted[(wanted >= first) & (wanted < first + len(table))] - first
        # Libraries do not accept tables without rows.
        subset = table[chosen] if len(chosen) else table[:1]
        some, of_chosen, version = answer(folder / "model", table, subset, settings, threads)
        margins.append(np.reshape(some, (len(table), -1)))
        predictions.append(np.reshape(of_chosen, (len(subset), -1))[: len(chosen)])
    np.save(folder / "margins.npy", np.concatenate(margins), allow_pickle=False)
    np.save(folder / "predictions.npy", np.concatenate(predictions), allow_pickle=False)
    return str(version)


def _die_with_parent(parent: int) -> None:
    """Let the operating system end this process when the thread that started it ends, killed or not."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

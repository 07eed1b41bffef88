"""The training library's own answers, in a process of its own: run as `python -m` with MODULE FOLDER THREADS.

MODULE is the room of a library that asks it: `answer(model, rows, wanted, settings, threads)` takes the path of the model in
the library's own format, rows [n, F], those whose prediction is wanted too [w, F], and the importer's settings; it returns
margins [n, K], predictions [w, K] and the library's version. FOLDER holds `model`, `settings.json` and the arrays. A crash, a
hang or a library that is not installed ends this process and no other.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

import numpy as np

from mlrf.builder.parity.sparse_rows import SparseRows

NOT_INSTALLED = 65
"""The exit status that says that the library cannot be imported."""


def main(argv: list[str]) -> int:
    """Answer the rows of a folder."""
    module, name, threads = argv
    folder = Path(name)
    try:
        answer = import_module(module).answer
    except (ImportError, OSError) as error:
        print(error, file=sys.stderr)
        return NOT_INSTALLED
    rows = SparseRows.load(folder)
    wanted = np.load(folder / "wanted.npy", allow_pickle=False)
    settings = json.loads((folder / "settings.json").read_bytes())
    margins, predictions = [], []
    for first, table in rows.blocks():
        chosen = wanted[(wanted >= first) & (wanted < first + len(table))] - first
        # Libraries do not take tables of no rows.
        asked = table[chosen] if len(chosen) else table[:1]
        some, of_chosen, version = answer(folder / "model", table, asked, settings, int(threads))
        margins.append(np.reshape(some, (len(table), -1)))
        predictions.append(np.reshape(of_chosen, (len(asked), -1))[: len(chosen)])
    np.save(folder / "margins.npy", np.concatenate(margins), allow_pickle=False)
    np.save(folder / "predictions.npy", np.concatenate(predictions), allow_pickle=False)
    print(version)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

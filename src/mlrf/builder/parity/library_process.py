"""LightGBM's own answers, in a process of its own: run as `python -m mlrf.builder.parity.library_process`.

Reads a model file, rows and the numbers of those whose prediction is wanted too (.npy), writes margins and predictions
(.npy). A crash, a hang or a library that is not
installed ends this process and no other.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

NOT_INSTALLED = 65
"""The exit status that says that the library cannot be imported."""


def main(argv: list[str]) -> int:
    """Answer the rows of a file: MODEL ROWS WANTED MARGINS PREDICTIONS DIVISOR THREADS."""
    model, rows_file, wanted_file, margins_file, predictions_file, divisor, threads = argv
    try:
        import lightgbm  # noqa: PLC0415  its absence is an answer
    except (ImportError, OSError) as error:
        print(error, file=sys.stderr)
        return NOT_INSTALLED
    lightgbm.register_logger(_Silent())
    booster = lightgbm.Booster(model_str=Path(model).read_text(encoding="utf-8"))
    rows = np.load(rows_file, allow_pickle=False)
    wanted = rows[np.load(wanted_file, allow_pickle=False)]
    # Of a random forest LightGBM's raw score is the sum over the trees; the margin is the mean.
    margins = np.asarray(booster.predict(rows, raw_score=True, num_threads=int(threads))) / float(divisor)
    np.save(margins_file, margins.reshape(len(rows), -1), allow_pickle=False)
    predictions = np.asarray(booster.predict(wanted, num_threads=int(threads)))
    np.save(predictions_file, predictions.reshape(len(wanted), -1), allow_pickle=False)
    print(lightgbm.__version__)
    return 0


class _Silent:
    """LightGBM warns of parameters that a newer version wrote; nobody reads a child's log."""

    def info(self, message: str) -> None:
        """Drop a message."""

    def warning(self, message: str) -> None:
        """Drop a warning."""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

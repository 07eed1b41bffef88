"""`make parity`: the parity matrix, written to docs/reference/parity.md. `--random N` instead tests N random models.

Model i of a random run depends on the seed and on i alone, so that a run of hours can be done in parts: `--first I`, `--minutes M`.
"""

from __future__ import annotations

import argparse
import sys
import time
from importlib import metadata
from pathlib import Path

import numpy as np

from measuring import Measured, measure
from mlrf.core.errors import MlrfError
from zoo import Cell, cells, grow

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "parity.md"
SHAP_LIMIT = 1e-5
ONNX_LIMIT = 1e-6
ADDITIVITY_LIMIT = 1e-9
TITLES = (
    "library",
    "objective",
    "type",
    "splits",
    "missing",
    "rows",
    "largest margin difference",
    "bit-equal",
    "ONNX",
    "SHAP",
)


def main() -> int:
    """Measure every cell, or random ones."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--random", type=int, metavar="N", help="ask N random models instead")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, metavar="I", help="number of the first random model")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no random model after these minutes")
    parser.add_argument("--library", help="only cells of this library")
    options = parser.parse_args()
    chosen = [cell for cell in cells() if options.library in (None, cell.library)]
    if options.random:
        return ask_random(chosen, options)
    began, lines, failed = time.monotonic(), [], 0
    for cell in chosen:
        found = measure(grow(cell))
        failed += not holds(found)
        lines.append(line(cell, found))
        print(lines[-1], flush=True)
    if options.library is None:
        PAGE.write_text(page(lines, failed), encoding="utf-8")
    print(f"{len(lines)} cells, {failed} failed, {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


def ask_random(chosen: list[Cell], options: argparse.Namespace) -> int:
    """Test random models of all libraries in turn, print each that fails, and return 1 if one did."""
    stop = time.monotonic() + 60.0 * options.minutes
    done, failed = options.first, 0
    for index in range(options.first, options.first + options.random):
        if time.monotonic() > stop:
            break
        rng = np.random.default_rng([options.seed, index])
        cell = chosen[int(rng.integers(len(chosen)))]
        shape = {"trees": int(rng.integers(1, 25)), "depth": int(rng.integers(1, 7))}
        seed = int(rng.integers(2**31))
        try:
            found: Measured | str = measure(grow(cell, seed, **shape), most=1_500)
        except MlrfError as error:
            found = f"{type(error).__name__}: {error}"
        if isinstance(found, str) or not holds(found):
            failed += 1
            print(f"model {index}: {cell} seed {seed} {shape}: {found}", flush=True)
        done = index + 1
        if done % 100 == 0:
            print(f"{done - options.first} models", flush=True)
    print(f"{done - options.first} models, {failed} failed, next --first {done}")
    return 1 if failed else 0


def holds(found: Measured) -> bool:
    """Whether a cell keeps every bar."""
    explained = found.contribution_difference is None or found.contribution_difference <= SHAP_LIMIT
    exported = found.onnx_difference is None or found.onnx_difference <= ONNX_LIMIT
    return found.off == 0 and exported and found.additivity <= ADDITIVITY_LIMIT and explained


def line(cell: Cell, found: Measured) -> str:
    """One line of the table."""
    contributions = "-" if found.contribution_difference is None else f"{found.contribution_difference:.0e}"
    equal = "yes" if found.off == 0 else f"no: {found.off} rows, {found.flips} on a threshold"
    onnx = "-" if found.onnx_difference is None else f"{found.onnx_difference:.0e}"
    numbers = (str(found.rows), f"{found.largest_difference:.0e}", equal, onnx, contributions)
    words = (cell.library, cell.objective, cell.kind, cell.splits, cell.missing)
    return "| " + " | ".join((*words, *numbers)).replace("0e+00", "0") + " |"


def page(lines: list[str], failed: int) -> str:
    """The whole page."""
    versions = ", ".join(
        f"{name} {metadata.version(name)}"
        for name in (
            *("lightgbm", "xgboost-cpu", "catboost", "scikit-learn", "onnxruntime", "shap", "treelite", "ydf"),
            *("skl2onnx", "onnxmltools", "onnx"),
        )
    )
    head = "| " + " | ".join(TITLES) + " |\n" + "|---" * len(TITLES) + "|\n"
    return (
        "# Parity: every kind of model compared with its own library\n\n"
        f"Made by `make parity` with {versions}. Each line is a model trained for it (12 rounds, depth 4), read, exported and asked "
        "for golden rows: random ones, missing values, values near zero, unusual categories, and rows that stand on the thresholds "
        "of its nodes and one step besides them.\n\n"
        "- **largest margin difference**, **bit-equal**: the tree engine compared with the library's own raw margin. A branch taken "
        "otherwise would show: every threshold row is bit-equal where the line says yes.\n"
        "- **ONNX**: `model.onnx` under ONNX Runtime, relative to max(\\|margin\\|, mean \\|margin\\|); the bar is 1e-6. `-`: the bundle has no ONNX file (CTR features, combinations).\n"
        "- **SHAP**: contributions and base compared with the library's own, relative to max(1, sum \\|contribution\\|); the bar is 1e-5. "
        "scikit-learn has none; its models are held against `shap`'s `TreeExplainer`. `-`: there are none (`shap` knows neither "
        "categories of histograms nor gradient boosting of several classes), or none that add up to the prediction (CatBoost's trees "
        "that are not symmetric). Base and contributions give the margin within 1e-9 on every line.\n"
        "- **combination** lines: the objective names the estimator, the type the libraries of its members. The margins are those of all "
        "members, each held against its own library; the estimator's own answers to its training rows are held too, as for **several "
        "targets**.\n"
        "- **pipeline** lines: scikit-learn pipelines of random scalers, functions, imputers and encoders around the model that the objective "
        "names, folded into a forest over the raw columns; the type says which matrix the model sees. The margin it is compared with is the "
        "pipeline's own for raw rows, and the pipeline's predictions for its training frame are held too.\n"
        "- **onnx** lines: the objective names the model that an exporter wrote, the type names exporter and version of ai.onnx.ml. "
        "The margin it is compared with is ONNX Runtime's for that file. No exporter writes how many training rows took each branch, so they are "
        "counted again with the training rows; SHAP is held against the exported model's own where that counts rows too and the "
        "file sends every training row to the same leaf (skl2onnx loses the side of missing values, onnxmltools rounds "
        "LightGBM's thresholds to float32).\n"
        "- **skl2onnx pipeline** lines: random pipelines as skl2onnx writes them, read from the ONNX file and folded. The margin is ONNX "
        "Runtime's for the whole file and raw rows, and its answers to the training frame, strings included, are held too. "
        "The files have no covers, and their frames stay out of the proof, so there is no SHAP.\n\n"
        f"{len(lines)} kinds of model, {failed} failed.\n\n{head}" + "\n".join(lines) + "\n"
    )


if __name__ == "__main__":
    sys.exit(main())

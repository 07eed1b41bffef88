"""`make mutated`: damaged model files of every library, each read in a process that a crash or a hang would end.

A file must be refused with a BuildError or be read and encoded; anything else, or taking 10 s, is a failure.
"""

from __future__ import annotations

import itertools
import multiprocessing
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import lightgbm as lgb
import numpy as np
import xgboost as xgb
from sklearn import ensemble

import onnx_exports
import onnx_pipelines
import skops_files
import treelite_models
from mlrf.builder.exporters.forest_file.encode import encode_forest
from mlrf.builder.importers.detect import import_model
from mlrf.builder.importers.imported_model import ImportedModel
from mlrf.core.errors import MlrfError
from zoo import Cell, grow

LIMIT_S = 10.0
MOST_BYTES = 100
PIPELINE = ("RandomForestClassifier", "skl2onnx pipeline", "mixed", "imputed")


def sound_files() -> dict[str, bytes]:
    """A model of each library and format."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lightgbm = grow(Cell("lightgbm", "multiclass", "gbdt", "categorical", "NaN"), trees=3).model
        linear = grow(Cell("lightgbm", "regression", "linear trees", "numeric", "NaN"), trees=3).model
        xgboost = grow(Cell("xgboost", "multi:softprob", "gbtree", "partition", "NaN"), trees=3).model
        vectors = grow(Cell("xgboost", "binary:logistic", "vector leaves", "numeric", "NaN"), trees=3).model
        catboost = grow(Cell("catboost", "RMSE", "SymmetricTree", "one-hot", "Min"), trees=3).model
        depthwise = grow(Cell("catboost", "MultiClass", "Depthwise", "numeric", "Min"), trees=3).model
        ctr = grow(Cell("catboost", "RMSE", "SymmetricTree", "CTR, all types", "Min"), trees=3).model
        catboost_models = (catboost, depthwise, ctr)
        for model, kind in itertools.product(catboost_models, ("cbm", "json")):
            model.save_model(str(folder / f"{id(model)}.{kind}"), format=kind)
        numeric = grow(Cell("lightgbm", "regression", "gbdt", "numeric", "NaN"), trees=3).model
        forest = grow(Cell("sklearn", "RandomForestRegressor", "regressor", "numeric", "NaN"), trees=3).model
        histogram = grow(
            Cell("sklearn", "HistGradientBoostingRegressor", "regressor", "categorical", "NaN"), trees=3
        ).model
        return {
            "lightgbm.txt": lightgbm.model_to_string().encode(),
            "lightgbm-linear.txt": linear.model_to_string().encode(),
            "xgboost.json": bytes(xgboost.save_raw("json")),
            "xgboost.ubj": bytes(xgboost.save_raw("ubj")),
            "xgboost-vectors.json": bytes(vectors.save_raw("json")),
            "xgboost-vectors.ubj": bytes(vectors.save_raw("ubj")),
            "treelite.bin": treelite_models.checkpoint("xgboost categories", rounds=3).serialize_bytes(),
            "catboost.cbm": (folder / f"{id(catboost)}.cbm").read_bytes(),
            "catboost.json": (folder / f"{id(catboost)}.json").read_bytes(),
            "catboost-depthwise.cbm": (folder / f"{id(depthwise)}.cbm").read_bytes(),
            "catboost-depthwise.json": (folder / f"{id(depthwise)}.json").read_bytes(),
            "catboost-ctr.cbm": (folder / f"{id(ctr)}.cbm").read_bytes(),
            "catboost-ctr.json": (folder / f"{id(ctr)}.json").read_bytes(),
            "forest.skops": skops_files.dumps(forest),
            "histogram.skops": skops_files.dumps(histogram),
            "mixed.skops": skops_files.dumps(mixed_vote()),
            "pipeline.onnx": onnx_pipelines.exported(PIPELINE, 0, 3, 3)[0].SerializeToString(),
            "forest.onnx": onnx_exports.exported(forest, 1).SerializeToString(),
            "lightgbm.onnx": onnx_exports.exported(lightgbm, 3).SerializeToString(),
            "own.onnx": onnx_exports.exported(numeric, 5).SerializeToString(),
        }


def mixed_vote() -> ensemble.VotingRegressor:
    """A vote of LightGBM, XGBoost and scikit-learn: the trees of three libraries in one file."""
    rows = np.random.default_rng(0).normal(size=(120, 4))
    members = [
        ("lightgbm", lgb.LGBMRegressor(n_estimators=3, num_leaves=4, verbose=-1, n_jobs=1)),
        ("xgboost", xgb.XGBRegressor(n_estimators=3, max_depth=2, n_jobs=1)),
        ("forest", ensemble.RandomForestRegressor(3, max_depth=3, random_state=0)),
    ]
    return ensemble.VotingRegressor(members).fit(rows, rows[:, 0] + rows[:, 1] ** 2)


def damaged(sound: bytes, rng: np.random.Generator) -> bytes:
    """Cut, bytes changed, a piece taken out, doubled or put elsewhere, a number blown up."""
    content = bytearray(sound)
    at, size = int(rng.integers(len(content))), int(rng.integers(1, MOST_BYTES))
    match int(rng.integers(6)):
        case 0:
            return bytes(content[: at or 1])
        case 1:
            for _ in range(int(rng.integers(1, 10))):
                content[int(rng.integers(len(content)))] = int(rng.integers(256))
        case 2:
            del content[at : at + size]
        case 3:
            content[at:at] = content[at : at + size]
        case 4:
            piece, to = content[at : at + size], int(rng.integers(len(content)))
            content[to : to + size] = piece
        case 5:
            digits = [i for i, byte in enumerate(content[at : at + 2000], at) if chr(byte).isdecimal()]
            if digits:
                content[digits[0] : digits[0] + 1] = [b"-1", b"99999999999", b"1e308", b"nan", b"4294967295"][
                    int(rng.integers(5))
                ]
    return bytes(content)


def read_files(pipe: Connection) -> None:
    """Read each file from the pipe, and report the result."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m"
        while content := pipe.recv_bytes():
            path.write_bytes(content)
            try:
                model = import_model(path)
                if isinstance(model, ImportedModel):  # a graph is its own file, and goes no further here
                    encode_forest(model.forest)
                pipe.send("read")
            except MlrfError as error:
                pipe.send("refused" if str(error).strip() else "refused without a word")
            except Exception as error:  # noqa: BLE001  what no caller expects
                pipe.send(f"{type(error).__name__}: {str(error)[:200]}")


def results(files: Iterator[tuple[str, bytes]]) -> Iterator[tuple[str, bytes, str, float]]:
    """Yield the result of each file, and the seconds it took."""
    context = multiprocessing.get_context("spawn")
    pipe, process = None, None
    for name, content in files:
        if process is None or not process.is_alive():
            pipe, child_pipe = context.Pipe()
            process = context.Process(target=read_files, args=(child_pipe,), daemon=True)
            process.start()
            child_pipe.close()
            import_s = 60.0
        began = time.monotonic()
        try:
            pipe.send_bytes(content)
            outcome = pipe.recv() if pipe.poll(LIMIT_S + import_s) else "took too long"
        except (EOFError, OSError):
            outcome = "the process died"
        took, import_s = time.monotonic() - began - import_s, 0.0
        if outcome in ("took too long", "the process died"):
            process.kill()
            process.join()
            process = None
        yield name, content, outcome, max(0.0, took)
    if process is not None:
        process.kill()
        process.join()


def mutants(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield damaged files of all formats in turn."""
    rng = np.random.default_rng(seed)
    sound = sound_files()
    names = sorted(sound)
    for number in range(count):
        name = names[number % len(names)]
        yield name, damaged(sound[name], rng)


def main(count: int, seed: int = 0) -> int:
    """Try `count` files; returns 1 when one crashed, hung or was neither read nor refused."""
    came, worst, wrong = Counter(), 0.0, 0
    for name, content, outcome, took in results(mutants(count, seed)):
        came[name, outcome if outcome in ("read", "refused") else "WRONG"] += 1
        worst = max(worst, took)
        if outcome not in ("read", "refused"):
            wrong += 1
            kept = Path(tempfile.gettempdir()) / f"mutated-{wrong}-{name}"
            kept.write_bytes(content)
            print(f"{name}: {outcome} ({kept})", flush=True)
    for (name, outcome), number in sorted(came.items()):
        print(f"{name:26} {outcome:8} {number}")
    print(f"{count} files, {wrong} wrong, the slowest {worst:.1f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5000))

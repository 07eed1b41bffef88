"""What `score_table.py` compares `mlrf score` with: each reads Parquet, and writes Parquet with id and prediction,
except LightGBM from file to file, which reads CSV.

python benchmarks/score_contenders.py NAME MODEL_FOLDER ROWS_FOLDER OUT_FOLDER THREADS
"""

# ruff: noqa: PLC0415  a contender imports its own library, and its process none of the others

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

BATCH_ROWS = 1 << 10
"""Rows that ONNX Runtime scores at once. Measured: 16 GB of memory for 65,536 rows of 690 trees."""


def pandas_booster(home: Path, source: Path, out: Path, threads: int) -> None:
    """Score with pandas and Booster.predict, a file at a time."""
    import lightgbm
    import pandas as pd

    booster = lightgbm.Booster(model_file=home / "model.txt")
    for path in sorted(source.glob("*.parquet")):
        frame = pd.read_parquet(path)
        answers = booster.predict(frame.drop(columns="id"), num_threads=threads)
        pd.DataFrame({"id": frame["id"], "prediction": answers}).to_parquet(out / path.name, index=False)


def onnx_runtime(home: Path, source: Path, out: Path, threads: int) -> None:
    """Score with ONNX Runtime and the bundle's model.onnx, a batch of 1,024 rows at a time."""
    import onnxruntime

    import mlrf
    from mlrf.core.leniency import Leniency
    from mlrf.model.table_input import read_rows

    schema = mlrf.load(home / "bundle").schema
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(home / "bundle/model.onnx", options, providers=["CPUExecutionProvider"])
    written = pa.schema({"id": pa.int64(), "prediction": pa.float64()})
    for path in sorted(source.glob("*.parquet")):
        with pq.ParquetWriter(out / path.name, written) as writer:
            for batch in pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 18).iter_batches(BATCH_ROWS):
                rows = read_rows(schema, pa.Table.from_batches([batch]), Leniency("ignore"))
                answers = np.asarray(session.run(["prediction"], {"features": rows})[0], np.float64).reshape(-1)
                writer.write_table(pa.table({"id": batch["id"], "prediction": answers}))


def pylignum(home: Path, source: Path, out: Path, threads: int) -> None:
    """Score Arrow tables with pylignum's interpreter, a file on each thread."""
    import lignum

    model = lignum.load(str(home / "model.txt"))

    def score(path: Path) -> None:
        table = pq.ParquetFile(path).read()
        answers = np.asarray(model.predict(table.drop_columns(["id"])))
        pq.write_table(pa.table({"id": table["id"], "prediction": answers}), out / path.name)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(score, sorted(source.glob("*.parquet"))))


def lightgbm_file(home: Path, source: Path, out: Path, threads: int) -> None:
    """Score a CSV file with LightGBM, from file to file: what its command line does (`task=predict`)."""
    import ctypes

    import lightgbm
    from lightgbm import basic

    booster = lightgbm.Booster(model_file=home / "model.txt")
    texts = [str(source).encode(), f"num_threads={threads}".encode(), str(out / "answers.txt").encode()]
    data, parameters, result = map(ctypes.c_char_p, texts)
    has_header, raw, first, every = map(ctypes.c_int, (1, 0, 0, -1))
    predict = basic._LIB.LGBM_BoosterPredictForFile  # noqa: SLF001  Booster.predict(path) reads the result back into memory
    if predict(booster._handle, data, has_header, raw, first, every, parameters, result):  # noqa: SLF001
        raise SystemExit(basic._LIB.LGBM_GetLastError())  # noqa: SLF001


CONTENDERS: dict[str, Callable[[Path, Path, Path, int], None]] = {
    "pandas and Booster.predict": pandas_booster,
    "ONNX Runtime": onnx_runtime,
    "pylignum": pylignum,
    "LightGBM from file to file, CSV": lightgbm_file,
}

if __name__ == "__main__":
    CONTENDERS[sys.argv[1]](*map(Path, sys.argv[2:5]), int(sys.argv[5]))

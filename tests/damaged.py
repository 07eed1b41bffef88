"""Bundles with one file that is missing, empty or junk, which every command must refuse with exit status 3 and one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd

import mlrf
from looping_model import replaced

_NOT_IN_EVERY_BUNDLE = ("manifest.json", "golden.parquet", "leaves.bin")
"""Files without which a manifest that does not list them is that of a sound bundle; and the manifest."""
_JUNK = b"\x00\xffjunk" * 50


def keyed_bundle(folder: Path) -> Path:
    """Build a bundle with every file that a bundle can have."""
    rng = np.random.default_rng(4)
    frame = pd.DataFrame({"a": rng.normal(size=200), "b": rng.normal(size=200)})
    booster = lgb.train(
        {"num_leaves": 4, "verbose": -1, "num_threads": 1}, lgb.Dataset(frame, frame["a"] > frame["b"]), 3
    )
    rows = folder / "rows.parquet"
    frame.assign(shop=[f"s{i}" for i in range(200)]).to_parquet(rows)
    return Path(mlrf.build(booster, folder / "sound", name="sales", features=rows, key=["shop"], explain=True))


def damages(bundle: Path) -> Iterator[tuple[str, Callable[[Path], object]]]:
    """Yield each kind of damage to each file of a bundle, with a function that damages a copy."""
    names = sorted(json.loads((bundle / "manifest.json").read_text())["files"])
    for name in [*names, "manifest.json"]:
        yield f"{name} missing", lambda copy, name=name: (copy / name).unlink()
        for what, content in (("empty", b""), ("junk", _JUNK)):
            if name == "manifest.json":
                yield f"{name} {what}", lambda copy, content=content: (copy / "manifest.json").write_bytes(content)
            else:
                yield f"{name} {what}", lambda copy, name=name, content=content: replaced(copy, name, content)
        if name not in _NOT_IN_EVERY_BUNDLE:
            yield f"{name} not listed", lambda copy, name=name: replaced(copy, name, None)
    yield (
        "no engine's file",
        lambda copy: (replaced(copy, "model.onnx", None), replaced(copy, "forest.bin", None)),
    )


def copied(bundle: Path, folder: Path, damage: Callable[[Path], object]) -> Path:
    """Return a copy of a bundle that was damaged."""
    copy = shutil.copytree(bundle, folder / "damaged")
    damage(copy)
    return copy

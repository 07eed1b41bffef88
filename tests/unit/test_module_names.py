"""A module's name says what it holds: modules of one name mean the same, in packages that are alike."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src/mlrf"
IMPORTERS = {f"builder/importers/{each}" for each in ("lightgbm", "xgboost", "sklearn", "catboost", "onnx_trees")}
ALIKE = {
    "build": ({"cli", "builder"}, "`mlrf build`, and what it does"),
    "keys": ({"cli", "serving/auth"}, "`mlrf keys`, and the file of keys that it writes"),
    "errors": ({"core", "client"}, "the errors that a package raises"),
    "interface": (
        {"builder/importers", "engines", "features", "stores"},
        "what every importer, engine, feature store, and store of models offers",
    ),
    "publishing": ({"core", "stores"}, "publishing a version: in a directory, and in a store of models"),
    "settings": (
        {f"serving/{each}" for each in ("auth", "cache", "config", "oip/grpc", "platforms", "telemetry")},
        "the options of a package",
    ),
    "server": ({"serving/http", "serving/http2", "serving/oip/grpc"}, "the servers of the transports"),
    "limits": ({"serving/http2", "serving/oip/grpc"}, "how much of gRPC a client may ask for"),
    "limited_connection": ({"serving/http", "serving/http2"}, "a connection that enforces its limits"),
    "connection": ({"serving/http", "serving/http2"}, "the protocol of a connection"),
    "server_process": ({"demo", "testing"}, "`mlrf serve` as a child process"),
    "features": (IMPORTERS - {"builder/importers/onnx_trees"} | {"cli"}, "a model's features; `mlrf features`"),
    "objective": (IMPORTERS, "task and link of a model"),
    "trees": (
        IMPORTERS | {"builder/importers/treelite", "builder/importers/ydf"},
        "a library's trees as those of the IR",
    ),
    "document": ({"builder/importers/xgboost", "builder/importers/catboost"}, "the content of a model file"),
    "reader": (
        IMPORTERS
        | {
            f"builder/importers/{each}"
            for each in ("pipeline", "combination", "onnx_graph", "onnx_steps", "treelite", "ydf")
        },
        "from a file or object to an imported model",
    ),
    "reference": (
        IMPORTERS
        | {f"builder/importers/{each}" for each in ("pipeline", "combination", "onnx_steps", "treelite", "ydf")},
        "the training library's own predictions",
    ),
    "source": (
        {f"builder/importers/{each}" for each in ("lightgbm", "sklearn", "catboost", "pipeline", "combination")},
        "the bytes or the object behind what `build` is given",
    ),
}
"""Names that several modules have: the packages, and what the name means in all of them."""


def test_modules_of_one_name_mean_the_same():
    folders = defaultdict(set)
    for path in SOURCE.rglob("*.py"):
        if path.stem != "__init__":
            folders[path.stem].add(path.parent.relative_to(SOURCE).as_posix())
    assert {name: found for name, found in folders.items() if len(found) > 1} == {
        name: packages for name, (packages, _) in ALIKE.items()
    }


def test_modules_are_short():
    """A longer one has more than one idea."""
    lengths = {
        path.relative_to(SOURCE).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in SOURCE.rglob("*.py")
    }
    assert {name for name, n_lines in lengths.items() if n_lines > 300} == set()

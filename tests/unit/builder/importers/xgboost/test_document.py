"""XGBoost's files read without XGBoost: valid ones, damaged ones, and other files."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import time

import numpy as np
import pytest

from mlrf.builder.exporters.forest_file.encode import encode_forest
from mlrf.builder.importers.detect import import_model
from mlrf.builder.importers.xgboost.ubjson import read_ubjson
from mlrf.core.errors import BuildError, ModelUnreadableError, UnsupportedModelError
from xgboost_models import train

MUTATIONS = 150
"""Of each file; `tests/ops/mutated_models.py` tries thousands."""


@pytest.fixture(scope="module")
def documents():
    booster = train("multi:softprob", rounds=3)
    return {"json": bytes(booster.save_raw("json")), "ubj": bytes(booster.save_raw("ubj"))}


def put(tmp_path, content):
    path = tmp_path / "m"
    path.write_bytes(content)
    return path


def test_reading_a_file_imports_no_xgboost(documents, tmp_path):
    script = "import sys; from mlrf.builder.importers.detect import import_model; import_model(sys.argv[1]); assert 'xgboost' not in sys.modules"
    subprocess.run([sys.executable, "-c", script, put(tmp_path, documents["ubj"])], check=True)


@pytest.mark.parametrize("kind", ["json", "ubj"])
def test_a_damaged_file_is_refused_and_never_hangs(documents, tmp_path, kind):
    rng = np.random.default_rng(5)
    sound = documents[kind]
    refused = 0
    for _ in range(MUTATIONS):
        content = bytearray(sound)
        match rng.integers(3):
            case 0:
                content = content[: int(rng.integers(1, len(content)))]
            case 1:
                for _ in range(int(rng.integers(1, 8))):
                    content[int(rng.integers(len(content)))] = int(rng.integers(256))
            case 2:
                start, size = int(rng.integers(len(content))), int(rng.integers(1, 200))
                del content[start : start + size]
        began = time.process_time()
        try:
            import_model(put(tmp_path, bytes(content)))
        except BuildError:
            refused += 1
        assert time.process_time() - began < 10
    assert refused > MUTATIONS // 2


def altered(raw, change):
    document = json.loads(raw)
    change(document["learner"])
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.pop("gradient_booster"), "learner has no gradient_booster"),
        (lambda m: m["gradient_booster"]["model"]["trees"].clear(), "for each of 0 trees"),
        (lambda m: m["gradient_booster"]["model"]["tree_info"].__setitem__(0, 7), "tree_info"),
        (
            lambda m: m["gradient_booster"]["model"]["trees"][0]["left_children"].__setitem__(0, 0),
            "reaches a node twice",
        ),
        (lambda m: m["gradient_booster"]["model"]["trees"][0]["left_children"].__setitem__(0, 9999), "does not exist"),
        (lambda m: m["gradient_booster"]["model"]["trees"][0]["split_indices"].__setitem__(0, 99), "tests no feature"),
        (lambda m: m["gradient_booster"]["model"]["trees"][0]["split_conditions"].append(1.0), "split_conditions"),
        (lambda m: m["gradient_booster"]["model"]["trees"][0]["sum_hessian"].__setitem__(-1, -1.0), "cover"),
        (lambda m: m["learner_model_param"].update(num_feature="4000000000"), "4000000000 features"),
        (lambda m: m["learner_model_param"].update(num_feature="six"), "num_feature"),
        (lambda m: m["learner_model_param"].update(num_class="1"), "num_class"),
        (lambda m: m["learner_model_param"].update(base_score="[1,2]"), "base_score"),
        (lambda m: m["learner_model_param"].update(base_score="nan"), "base_score"),
        (lambda m: m.update(feature_names=["a", "a", "b", "c", "d"]), "two with the same name"),
        (lambda m: m.update(feature_types=["float"]), "types 1"),
        (lambda m: m["gradient_booster"].update(name="gblinear"), "gblinear"),
        (lambda m: m["objective"].update(name="reg:my_own"), "reg:my_own"),
    ],
)
def test_each_wrong_thing_is_named(documents, tmp_path, change, message):
    with pytest.raises(BuildError, match=message):
        import_model(put(tmp_path, altered(documents["json"], change)))


def test_what_a_leaf_says_of_children_means_nothing(documents, tmp_path):
    def change(learner):
        tree = learner["gradient_booster"]["model"]["trees"][0]
        tree["right_children"][tree["left_children"].index(-1)] = -46081

    expected = encode_forest(import_model(put(tmp_path, documents["json"])).forest)
    assert encode_forest(import_model(put(tmp_path, altered(documents["json"], change))).forest) == expected


def test_the_old_binary_format_is_refused_with_what_to_do(tmp_path):
    header = struct.pack("<fI", 0.5, 4) + bytes(128)
    old = header + struct.pack("<Q", 16) + b"reg:squarederror" + struct.pack("<Q", 6) + b"gbtree" + bytes(200)
    for content in (old, b"binf" + old, b"bs64\tAAAA"):
        with pytest.raises(UnsupportedModelError, match=r"old binary format.*\.json or \.ubj"):
            import_model(put(tmp_path, content))


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"Z", None),
        (b"NNT", True),
        (b"i\xff", -1),
        (b"U\xff", 255),
        (b"I\x01\x00", 256),
        (b"d" + struct.pack(">f", 1.5), 1.5),
        (b"SU\x03s\xc3\xbc", "sü"),
        (b"[U\x01U\x02]", [1, 2]),
        (b"[#U\x02U\x01Ca", [1, "a"]),
        (b"{U\x01aU\x01}", {"a": 1}),
        (b"{#U\x01U\x01aZ", {"a": None}),
    ],
)
def test_values_of_ubjson(raw, value):
    assert read_ubjson(raw) == value


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"N", b"x", b"i", b"[", b"[$d", b"[$x#U\x01", b"[$Z#l\x7f\xff\xff\xff", b"[$d#l\x7f\xff\xff\xff", b"[#l\x7f\xff\xff\xff",
        b"SU\x05ab", b"Si\xff", b"SU\x01\xff", b"{U\x01aTU\x01aT}", b"{$U#U\x01", b"[" * 1000, b"TT",
    ],
)  # fmt: skip
def test_invalid_ubjson_is_refused(raw):
    with pytest.raises(ModelUnreadableError, match="cut off or damaged"):
        read_ubjson(raw)
    typed = read_ubjson(b"[$l#U\x02" + struct.pack(">2i", 3, -4))
    assert typed.tolist() == [3, -4]

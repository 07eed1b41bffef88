"""Reading a model file: read completely or refused, whatever its damage."""

from __future__ import annotations

import json
import math
import random
import re

import numpy as np
import pytest

from mlrf.builder.class_labels import read_class_labels
from mlrf.builder.exporters.onnx.export import export_onnx
from mlrf.builder.importers.detect import import_model
from mlrf.builder.importers.imported_model import ImportOptions
from mlrf.core.errors import BuildError, ModelUnreadableError, SampleError, UnsupportedModelError
from mlrf.core.feature import Kind


@pytest.fixture
def read(tmp_path):
    def from_bytes(raw, **options):
        path = tmp_path / "read.txt"
        path.write_bytes(raw)
        return import_model(path, ImportOptions(**options))

    return from_bytes


def test_complete_file_is_read(read, text):
    model = read(text)
    assert (model.task, model.objective, model.link.kind) == ("regression", "regression", "identity")
    assert [f.kind for f in model.features] == [Kind.NUMERIC, Kind.NUMERIC, Kind.NUMERIC, Kind.CATEGORICAL]
    assert model.features[3].categories == ("east", "north", "south")
    assert model.forest.n_trees == 4
    assert model.source == text


def test_a_file_cut_anywhere_is_refused(read, text):
    # What ends right behind `end of parameters` is a file as LightGBM's own command line writes it.
    tail = text.index(b"end of parameters") + len(b"end of parameters\n")
    pandas = text.index(b"pandas_categorical")
    step = max(1, len(text) // 700)
    for cut in [*range(0, tail - 1, step), *range(pandas + 1, len(text) - 1)]:
        with pytest.raises(BuildError):
            read(text[:cut])


def test_a_file_without_parameters_ends_with_pythons_line(read, text):
    """As LightGBM 2 wrote a model that it had been given as text."""
    start, pandas = text.index(b"\nparameters:"), text.index(b"\npandas_categorical:")
    older = text[:start] + text[pandas:]
    assert read(older).forest.n_trees == 4
    for cut in range(start, len(older) - 1):
        with pytest.raises(ModelUnreadableError, match="cut"):
            read(older[:cut])
    with pytest.raises(ModelUnreadableError, match="ends before `end of parameters`"):
        read(text[: start + 20] + text[pandas:])


def test_the_line_ends_of_windows_change_nothing(read, text):
    found, expected = read(text.replace(b"\n", b"\r\n")), read(text)
    assert found.source == expected.source
    assert np.array_equal(found.forest.value, expected.forest.value)


def test_a_model_without_trees_says_so(read, text):
    head = text[: text.index(b"Tree=0")]
    with pytest.raises(UnsupportedModelError, match="has no trees"):
        read(head + text[text.index(b"end of trees") :])


@pytest.mark.parametrize("ending", ["tree sizes", "end of trees", "parameters", "pandas"])
def test_each_sign_of_wholeness_is_looked_for(read, text, ending):
    match ending:
        case "tree sizes":
            broken = re.sub(rb"Tree=1\n.*?Tree=2\n", b"Tree=2\n", text, flags=re.DOTALL)
        case "end of trees":
            broken = text.replace(b"end of trees\n", b"")
        case "parameters":
            broken = text[: text.index(b"\nend of parameters")]
        case "pandas":
            broken = text[:-4]
    with pytest.raises(ModelUnreadableError, match="cut"):
        read(broken)


@pytest.mark.parametrize("count", [300, pytest.param(2_500, marks=pytest.mark.slow)])
def test_mutated_text_is_read_or_refused_with_one_of_our_errors(read, text, count):
    chooser = random.Random(1)
    read_well = 0
    for _ in range(count):
        raw = bytearray(text)
        for _ in range(chooser.choice([1, 1, 2, 5])):
            at = chooser.randrange(len(raw))
            match chooser.randrange(4):
                case 0:
                    raw[at] = chooser.randrange(256)
                case 1:
                    raw[at : at + chooser.randrange(1, 9)] = b""
                case 2:
                    # The size stays right: only such damage gets as far as the trees.
                    raw[at] = chooser.choice(b"0123456789-.e n")
                case 3:
                    raw[at] = chooser.choice(b"=\n :[]")
        try:
            model = read(bytes(raw))
            export_onnx(model.forest, model.link)
        except BuildError:
            continue
        read_well += 1
    assert read_well > count // 25  # a changed digit of a leaf is not damage that a reader can see


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("left_child", "0 2 3 -1 -2", "twice|not sound|no row"),
        ("left_child", "9 2 3 -1 -2", "no node 9"),
        ("split_feature", "77 0 0 0 0", "tests"),
        ("decision_type", "12 2 2 2 2", "decision_type 12"),
        ("threshold", "nan 1 1 1 1", "not a number"),
        ("threshold", "1_0 1 1 1 1", "not a number"),
        ("leaf_value", "inf 1 1 1 1 1", "leaf value is not finite"),
        ("leaf_value", "1 1 1", "3 leaf_value, not 6"),
        ("num_leaves", "1000000000000", "beyond 32 bits"),
        ("num_leaves", "0", "num_leaves=0"),
        ("num_cat", "-1", "num_cat"),
        ("is_linear", "1", "no leaf_const"),
    ],
)
def test_damage_inside_a_tree_is_named(read, text, field, value, message):
    with pytest.raises(BuildError, match=message):
        read(edited(text, field, value))


def edited(text: bytes, field: str, value: str) -> bytes:
    """The file with a field of its first tree changed, and tree_sizes corrected so that only the change is wrong."""
    start, end = text.index(b"Tree=0\n"), text.index(b"Tree=1\n")
    block = re.sub(rf"^{field}=.*$".encode(), f"{field}={value}".encode(), text[start:end], count=1, flags=re.MULTILINE)
    sizes = re.search(rb"tree_sizes=(\d+)", text)
    assert sizes is not None
    head = text[: sizes.start()] + b"tree_sizes=%d" % len(block) + text[sizes.end() : start]
    return head + block + text[end:]


@pytest.mark.parametrize(
    ("line", "error", "message"),
    [
        (b"objective=binary sigmoid:x", ModelUnreadableError, "sigmoid"),
        (b"objective=binary sigmoid:-1", ModelUnreadableError, "not above 0"),
        (b"objective=pairwise", UnsupportedModelError, "pairwise"),
        (b"objective=multiclass num_class:3", ModelUnreadableError, "trees per iteration"),
    ],
)
def test_an_objective_that_cannot_be_is_named(read, text, line, error, message):
    with pytest.raises(error, match=message):
        read(text.replace(b"objective=regression", line, 1))


def test_versions_and_kinds_of_file(read, text, tmp_path):
    for version in (b"v2", b"v3", b"v4"):
        assert read(text.replace(b"version=v4", b"version=" + version, 1)).forest.n_trees == 4
    with pytest.raises(UnsupportedModelError, match="v9"):
        read(text.replace(b"version=v4", b"version=v9", 1))
    for other in (b"", b"{}", b"tree\n", b"tree\r\n", text.replace(b"\n", b"\r\n")[:-9], text.replace(b"\n", b"\r")):
        with pytest.raises(ModelUnreadableError):
            read(other)
    with pytest.raises(ModelUnreadableError, match="does not exist"):
        import_model(tmp_path / "absent")


def without_pandas(text: bytes) -> bytes:
    """The file as R or the C API writes it: it knows codes, and no names for them."""
    return text.replace(b'pandas_categorical:[["east", "north", "south"]]', b"pandas_categorical:null")


def test_category_lists_are_held_to_the_model(read, text):
    plain = without_pandas(text)
    model = read(plain, categories={"shop": ["E", "N", "S"]})
    assert model.features[3].categories == ("E", "N", "S")
    with pytest.raises(SampleError, match="not a feature"):
        read(plain, categories={"shops": ["E"]})
    with pytest.raises(SampleError, match="only 1 categories"):
        read(plain, categories={"shop": ["E"]})
    with pytest.raises(SampleError, match="twice"):
        read(plain, categories={"shop": ["E", "E", "S"]})
    columns = text.replace(b'[["east", "north", "south"]]', json.dumps([["a"], ["b"]]).encode())
    with pytest.raises(SampleError, match="unclear which list belongs to which feature"):
        read(columns)


@pytest.mark.parametrize(
    "given", [["north", "east", "south"], ["east", "north", "south", "west"], ["east", "north"], ["E", "N", "S"]]
)
def test_a_list_that_contradicts_the_files_own_is_refused(read, text, given):
    with pytest.raises(SampleError, match=r"'shop'.*the model file contains its categories") as refused:
        read(text, categories={"shop": given})
    assert refused.value.details == {"feature": "shop"}
    assert read(text, categories={"shop": ["east", "north", "south"]}).features[3].categories == (
        "east",
        "north",
        "south",
    )


def test_booleans_are_not_the_numbers_that_they_equal(read, text):
    own = text.replace(b'[["east", "north", "south"]]', b"[[0, 1, 2]]")
    assert read(own, categories={"shop": [0.0, 1.0, 2.0]}).features[3].categories == (0.0, 1.0, 2.0)
    with pytest.raises(SampleError, match="'shop'"):
        read(own, categories={"shop": [False, True, 2]})


def test_permuted_categories_of_ambiguous_columns_are_refused(read, text):
    two = text.replace(b'[["east", "north", "south"]]', b'[["east", "north", "south"], ["a", "b"]]')
    assert read(two, categories={"shop": ["east", "north", "south"]}).features[3].categories[0] == "east"
    with pytest.raises(SampleError, match=r"'shop'.*another order"):
        read(two, categories={"shop": ["north", "east", "south"]})


def test_a_list_for_a_number_is_refused(read, text):
    with pytest.raises(SampleError, match=r"'stock'.*as a number, in the range \[0:49\]") as refused:
        read(text, categories={"stock": list(range(60))})
    assert refused.value.details == {"feature": "stock"}


def test_class_labels_are_held_to_the_model(read, text):
    binary = text.replace(b"objective=regression", b"objective=binary sigmoid:1", 1)
    assert read(binary).classes == (0, 1)
    assert read(binary, classes=["no", "yes"]).classes == ("no", "yes")
    for wrong in (["no"], ["no", "no"], ["a", "b", "c"]):
        with pytest.raises(SampleError, match="2 classes"):
            read(binary, classes=wrong)
    for objective in (b"regression", b"lambdarank", b"custom"):
        other = text.replace(b"objective=regression", b"objective=" + objective, 1)
        assert read(other).classes is None
        with pytest.raises(SampleError, match="not a classifier"):
            read(other, classes=["no", "yes"])


@pytest.mark.parametrize("wrong", [5, "ab", ["a", ""], ["a", " "], ["a", None], ["a", math.nan], ["a", ["b"]]])
def test_invalid_labels_are_refused(wrong):
    with pytest.raises(SampleError, match="class"):
        read_class_labels(wrong)


def test_labels_are_taken_from_lists_and_arrays():
    assert read_class_labels(None) is None
    assert read_class_labels(["a", 1, True]) == ("a", 1, True)
    assert list(map(type, read_class_labels(np.array([3, 4])))) == [int, int]

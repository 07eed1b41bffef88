"""The kernel compared with the slow reference rules: every layout, every level of the processor, every entry point."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from array import array
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import naive_forest as naive
from examples import examples
from mlrf import _kernel
from mlrf.builder.exporters.forest_file.encode import encode_forest
from mlrf.core.category_hash import HASHED_CODE
from mlrf.core.errors import BundleError
from mlrf.core.forest import NOT_NEGATIVE, TRUNCATED, Forest
from mlrf.engines.tree_kernel import TreeEngine


def levels() -> list[str]:
    """The levels that this processor runs."""
    found = []
    forest = naive.make_forest(np.random.default_rng(0), n_trees=1)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "forest.bin"
        path.write_bytes(encode_forest(forest))
        for level in ("baseline", "avx2", "avx512", "vbmi"):
            with contextlib.suppress(ValueError):
                found.append(_kernel.Forest(str(path), level).level)
    return found


LEVELS = levels()


def open_forest(forest: Forest, tmp_path: Path, level: str | None = None) -> _kernel.Forest:
    path = tmp_path / "forest.bin"
    path.write_bytes(encode_forest(forest))
    return _kernel.Forest(str(path), level)


def check(forest: Forest, rows: np.ndarray, tmp_path: Path, explained: int = 3) -> None:
    """Every entry point gives the reference margins bit for bit, and the reference contributions; all levels give the same bits."""
    path = tmp_path / "forest.bin"
    path.write_bytes(encode_forest(forest))
    want = np.array([naive.margins(forest, row) for row in rows])
    phi = np.array([naive.contributions(forest, row) for row in rows[:explained]])
    scale = max(1.0, float(np.abs(forest.base).max()), float(np.abs(phi).sum(axis=1).max(initial=0.0)))
    # What a float32 sum rounds away is spread over the contributions, which then add up to the margin all the same.
    slack = 1e-5 * scale if any(forest.sums_in_float32) else 1e-9 * scale
    for level in LEVELS:
        kernel = _kernel.Forest(str(path), level)
        one = np.array([kernel.margin(row.tolist()) for row in rows])
        assert one.tobytes() == want.tobytes(), level
        many = np.array(kernel.margins(rows)).reshape(want.shape)
        assert many.tobytes() == want.tobytes(), level
        explanations = np.array(kernel.contributions_many(rows)).reshape(len(rows), forest.n_features, forest.n_outputs)
        np.testing.assert_allclose(explanations[:explained], phi, rtol=0, atol=slack)
        np.testing.assert_allclose(explanations.sum(axis=1) + kernel.base, want, rtol=0, atol=1e-9 * scale)
        for row, expected in zip(rows[:explained], explanations, strict=False):
            single = np.array(kernel.contributions(row.tolist())).reshape(expected.shape)
            assert single.tobytes() == expected.tobytes(), level
        np.testing.assert_allclose(kernel.base, forest.expected_margin(), rtol=1e-15)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_features=st.integers(1, 12),
    n_outputs=st.integers(1, 4),
    n_trees=st.integers(1, 40),
    max_leaves=st.integers(1, 30),
    category_share=st.sampled_from([0.0, 0.3, 1.0]),
    divisor=st.sampled_from([1.0, 7.0]),
    precision=st.sampled_from(
        [("float64", "float64"), ("float64", "float32"), ("float32", "float32"), ("by output", "float64")]
    ),
    base_order=st.sampled_from(["first", "last"]),
    scale=st.sampled_from([1.0, -0.3]),
    no_code_up_to=st.sampled_from([TRUNCATED, NOT_NEGATIVE]),
    n_rows=st.sampled_from([1, 2, 17, 40]),
)
def test_any_forest(
    tmp_path_factory: pytest.TempPathFactory, seed: int, n_rows: int, precision: tuple[str, str], **shape: object
) -> None:
    rng = np.random.default_rng(seed)
    forest = naive.make_forest(rng, rounding=precision[0], inputs=precision[1], **shape)  # type: ignore[arg-type]
    check(forest, naive.make_rows(rng, forest, n_rows), tmp_path_factory.mktemp("any"))


@pytest.mark.parametrize("shape", [{"max_leaves": 64}, {"max_leaves": 600, "n_codes": 127}, {"max_leaves": 1500}])
def test_outputs_of_both_precisions(tmp_path: Path, shape: dict[str, int]) -> None:
    rng = np.random.default_rng(5)
    forest = naive.make_forest(rng, n_outputs=3, n_trees=24, rounding="by output", divisor=3.0, **shape)  # type: ignore[arg-type]
    rows = naive.make_rows(rng, forest, 40)
    check(forest, rows, tmp_path, explained=1)
    want = np.array([naive.margins(forest, row) for row in rows])
    in_float64 = replace(forest, float32_outputs=None)
    differing = want != np.array([naive.margins(in_float64, row) for row in rows])
    assert differing.any(axis=0).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("layout", "shape"),
    [
        ("narrow, swept in bytes", {"n_trees": 40, "max_leaves": 64}),
        ("narrow, swept in bytes", {"n_trees": 5, "max_leaves": 256, "n_codes": 126, "category_share": 0.5}),
        ("narrow, swept in words", {"n_trees": 5, "max_leaves": 600, "n_codes": 127, "category_share": 0.5}),
        (
            "narrow, swept in words",
            {"n_trees": 9, "max_leaves": 420, "n_thresholds": 3000, "n_features": 2, "category_share": 0.0},
        ),
        (
            "narrow, swept in bytes",  # of which a column takes several
            {"n_trees": 40, "max_leaves": 250, "n_thresholds": 3000, "n_features": 3, "category_share": 0.2},
        ),
        ("narrow", {"n_trees": 2, "max_leaves": 1500, "is_chain": True, "n_features": 3}),
        (
            "narrow, swept in bytes",
            {"n_trees": 3, "max_leaves": 70, "is_chain": True, "n_features": 60, "category_share": 0.2},
        ),
        ("narrow, swept in bytes", {"n_trees": 3, "max_leaves": 8, "n_features": 100_000}),
        ("narrow, swept in bytes", {"n_trees": 3, "max_leaves": 30, "n_codes": 5000, "category_share": 1.0}),
        ("narrow, swept in bytes", {"n_trees": 20, "max_leaves": 10, "zero_cover_share": 1.0}),
        ("narrow, swept in bytes", {"n_trees": 9, "max_leaves": 1}),
    ],
)
def test_layouts(tmp_path: Path, layout: str, shape: dict[str, int]) -> None:
    rng = np.random.default_rng(11)
    forest = naive.make_forest(rng, n_outputs=2, **shape)  # type: ignore[arg-type]
    if layout.endswith("bytes") is False and layout.startswith("narrow, "):
        grown = [forest.feature[a:b] for a, b in zip(forest.tree_offsets[:-1], forest.tree_offsets[1:], strict=True)]
        assert max((len(tree) + 1) // 2 for tree in grown) > 256
    assert open_forest(forest, tmp_path).layout == layout
    check(forest, naive.make_rows(rng, forest, 40 if forest.n_features < 1000 else 5), tmp_path, explained=2)


@pytest.mark.parametrize(
    ("is_packed", "shape"),
    [
        (True, {"max_leaves": 64, "category_share": 0.0}),
        (True, {"max_leaves": 64, "category_share": 1.0}),  # more than 32 category nodes in a block
        (True, {"max_leaves": 65, "is_chain": True}),  # 64 inner nodes in a row
        (False, {"max_leaves": 66, "is_chain": True}),
        (True, {"max_leaves": 2, "n_trees": 300}),  # more trees than fit a block
        (
            True,
            {"max_leaves": 64, "n_features": 2, "n_thresholds": 2000, "category_share": 0.0},
        ),  # several bytes a column
        (True, {"max_leaves": 64, "n_features": 25, "n_trees": 60, "category_share": 0.0}),  # two registers of columns
        (True, {"max_leaves": 64, "n_features": 50, "n_trees": 60, "category_share": 0.0}),  # four
        (False, {"max_leaves": 64, "n_features": 80, "n_trees": 60, "category_share": 0.0}),
        (True, {"max_leaves": 64, "n_codes": 5000, "n_trees": 60, "category_share": 0.5}),  # no masks by code
        (True, {"max_leaves": 20, "n_codes": 60, "n_outputs": 3, "category_share": 0.5}),
    ],
)
@pytest.mark.parametrize("rounding", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
def test_packed_trees(tmp_path: Path, is_packed: bool, rounding: str, shape: dict[str, int]) -> None:
    """Trees of up to 64 inner nodes are packed where the processor shuffles or permutes bytes; their margins are the reference's."""
    rng = np.random.default_rng(13)
    forest = naive.make_forest(rng, **{"n_trees": 30, **shape}, rounding=rounding)  # type: ignore[arg-type]
    # At the lower levels a row may have 128 byte columns, half as many.
    is_packed_below = is_packed and shape.get("n_features") != 50
    for level, expected in (("avx2", is_packed_below), ("avx512", is_packed_below), ("vbmi", is_packed)):
        if level in LEVELS:
            assert open_forest(forest, tmp_path, level).is_packed is expected
    assert open_forest(forest, tmp_path, "baseline").is_packed is False
    check(forest, naive.make_rows(rng, forest, 21), tmp_path, explained=1)


@pytest.mark.parametrize(
    "shape",
    [
        {"max_leaves": 64},
        {"max_leaves": 64, "category_share": 1.0},
        {"max_leaves": 256, "n_trees": 6},
        {"max_leaves": 1024, "n_trees": 6, "n_thresholds": 400},  # swept in words
        {
            "max_leaves": 64,
            "n_trees": 400,
            "n_features": 3,
            "n_thresholds": 2000,
            "category_share": 0.1,
        },  # several bytes a column
        {"max_leaves": 16, "n_outputs": 3},
        {"max_leaves": 64, "symmetric_share": 0.5},
    ],
)
@pytest.mark.parametrize("rounding", ["float64", "float32"])
def test_symmetric_trees(tmp_path: Path, rounding: str, shape: dict[str, int]) -> None:
    """Trees whose levels test one split each give the reference's margins, among other trees too."""
    rng = np.random.default_rng(17)
    shape = {"n_trees": 25, "symmetric_share": 1.0, **shape}
    forest = naive.make_forest(rng, **shape, rounding=rounding)  # type: ignore[arg-type]
    check(forest, naive.make_rows(rng, forest, 140 if forest.n_nodes < 5000 else 70), tmp_path, explained=1)


@pytest.mark.parametrize(
    "shape",
    [
        {"max_leaves": 64},
        {"max_leaves": 64, "inputs": "float32", "rounding": "float32"},
        {"max_leaves": 16, "n_outputs": 3},
        {"max_leaves": 1024, "n_trees": 6},  # swept in words
        {"max_leaves": 32, "symmetric_share": 0.0},
        {"max_leaves": 300, "symmetric_share": 0.0, "is_chain": True, "n_trees": 2},  # walked
    ],
)
@pytest.mark.parametrize("n_codes", [6, 70], ids=["cells", "searched"])
def test_look_up_tables(tmp_path: Path, n_codes: int, shape: dict[str, Any]) -> None:
    """Tables with a cell for every combination of codes, and those that are searched, give the reference's margins."""
    rng = np.random.default_rng(29)
    shape = {"n_trees": 12, "symmetric_share": 1.0, "category_share": 0.2, **shape}
    forest = naive.with_tables(naive.make_forest(rng, **shape), rng, 30, n_codes)
    rows = naive.make_rows(rng, forest, 140 if forest.n_nodes < 5000 else 70)
    check(forest, rows, tmp_path, explained=1)
    for feature in forest.tables.hashes:
        rows[:, feature] = HASHED_CODE + rng.integers(2**32, size=len(rows))  # of no listed code
    check(forest, rows, tmp_path, explained=1)


def test_wide_layout_of_many_thresholds(tmp_path: Path) -> None:
    """A feature with more than 65,535 thresholds does not fit 16-bit ranks."""
    rng = np.random.default_rng(3)
    n_trees, leaves = 70, 1000
    forests = naive.make_forest(
        rng, n_features=2, n_trees=n_trees, max_leaves=leaves, category_share=0.0, is_chain=True
    )
    threshold = forests.threshold.copy()
    splits = np.flatnonzero(forests.feature == 0)
    forests.feature[forests.feature == 1] = 0
    splits = np.flatnonzero(forests.feature == 0)
    threshold[splits] = rng.permutation(np.linspace(-4.0, 4.0, len(splits)))
    forests.threshold[:] = threshold
    kernel = open_forest(forests, tmp_path)
    assert kernel.layout == "wide"
    rows = naive.make_rows(rng, forests, 20)
    rows[:, 0] = rng.normal(size=20) * 4
    rows[0, 0] = np.nan
    want = np.array([naive.margins(forests, row) for row in rows])
    assert np.array(kernel.margins(rows)).tobytes() == want.tobytes()
    assert np.array([kernel.margin(row.tolist()) for row in rows]).tobytes() == want.tobytes()
    phi = np.array(kernel.contributions_many(rows)).reshape(20, 2)
    for level in LEVELS:
        kernel = _kernel.Forest(str(tmp_path / "forest.bin"), level)
        alone = b"".join(kernel.contributions(row.tolist()).tobytes() for row in rows[:8])
        assert kernel.contributions_many(rows[:8]).tobytes() == alone, level
    np.testing.assert_allclose(
        phi.sum(axis=1) + kernel.base[0], want[:, 0], rtol=0, atol=1e-9 * np.abs(phi).sum(axis=1).max()
    )


def test_contributions_where_sums_exceed_16_bits(tmp_path: Path) -> None:
    """The explained trees are laid out with 32-bit numbers then."""
    rng = np.random.default_rng(23)
    forest = naive.make_forest(rng, n_features=5, n_outputs=22_000, n_trees=6, max_leaves=40)
    rows = naive.make_rows(rng, forest, 2)
    for level in LEVELS:
        kernel = open_forest(forest, tmp_path, level)
        phi = np.array(kernel.contributions_many(rows)).reshape(2, 5, -1)
        np.testing.assert_allclose(phi, [naive.contributions(forest, row) for row in rows], rtol=0, atol=1e-9)


def test_contributions_are_shapley_values(tmp_path: Path) -> None:
    """By definition, over every subset of the features."""
    for seed in range(12):
        rng = np.random.default_rng(seed)
        forest = naive.make_forest(rng, n_features=5, n_outputs=2, n_trees=4, max_leaves=12)
        kernel = open_forest(forest, tmp_path)
        for row in naive.make_rows(rng, forest, 4):
            got = np.array(kernel.contributions(row.tolist())).reshape(5, 2)
            np.testing.assert_allclose(got, naive.brute_force(forest, row), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("layout", "shape"),
    [
        ("narrow, swept in bytes", {"n_trees": 30, "max_leaves": 30}),
        ("narrow", {"n_trees": 6, "max_leaves": 3000, "category_share": 0.5}),
        (
            "narrow",
            {"n_trees": 6, "max_leaves": 3000, "rounding": "float32", "inputs": "float32", "base_order": "last"},
        ),
        ("narrow", {"n_trees": 6, "max_leaves": 3000, "category_share": 1.0}),
    ],
)
def test_threads_and_batch_sizes_do_not_change_the_bits(tmp_path: Path, layout: str, shape: dict[str, Any]) -> None:
    rng = np.random.default_rng(5)
    forest = naive.make_forest(rng, n_features=8, n_outputs=3, **shape)
    kernel = open_forest(forest, tmp_path)
    assert kernel.layout == layout
    rows = naive.make_rows(rng, forest, 3001)
    one = kernel.margins(rows).tobytes()
    assert all(kernel.margins(rows, threads).tobytes() == one for threads in (2, 3, 8))
    explained = kernel.contributions_many(rows[:300]).tobytes()
    assert all(kernel.contributions_many(rows[:300], threads=threads).tobytes() == explained for threads in (2, 3, 8))
    for n in (1, 2, 7, 8, 15, 16, 17, 63, 64, 65, 100, 127, 128, 129, 143):
        assert kernel.margins(rows[:n]).tobytes() == one[: n * 3 * 8]
    assert np.array([kernel.margin(row) for row in rows[-200:].tolist()]).tobytes() == one[-200 * 3 * 8 :]
    for n in (1, 2, 7, 8, 9, 63, 64, 65):
        assert kernel.contributions_many(rows[:n]).tobytes() == explained[: n * 8 * 3 * 8]


def test_ways_in(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    forest = naive.make_forest(rng, n_features=4, category_share=0.0)
    kernel = open_forest(forest, tmp_path)
    row = np.array([1.5, np.nan, -2.0, 3.0])
    want = kernel.margin(row.tolist())
    raw = row.tobytes()
    unaligned = memoryview(bytearray(b"x" + raw))[1:]
    for way in (
        tuple(row),
        array("d", row),
        raw,
        memoryview(raw),
        row,
        row.astype(np.float32),
        unaligned,
        [1.5, float("nan"), -2, 3],
    ):
        assert kernel.margin(way) == want
        assert kernel.contributions(way) == kernel.contributions(row.tolist())
    for rows in (raw, array("d", row), row, row.reshape(1, 4), array("f", row), unaligned):
        assert list(kernel.margins(rows)) == want
    assert kernel.margin([1.5, None, -2.0, 3.0]) == want
    assert len(kernel.margins(b"")) == 0
    assert len(kernel.contributions_many(b"")) == 0
    singles = rng.choice([0.0, 1.0, 0.5, np.nan, np.inf, 1e-36], size=(150, 4)).astype(np.float32)
    assert kernel.margins(singles) == kernel.margins(singles.astype(np.float64))


@pytest.mark.parametrize(
    "row", [[1.0], [1.0] * 5, (), b"12345678", b"123", np.zeros(5), np.zeros(4, dtype=np.float32)[:3]]
)
def test_a_row_of_another_length_is_refused(tmp_path: Path, row: object) -> None:
    kernel = open_forest(naive.make_forest(np.random.default_rng(7), n_features=4), tmp_path)
    with pytest.raises(ValueError, match=r"a row has 4 values|middle of a number"):
        kernel.margin(row)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"a row has 4 values|middle of a number"):
        kernel.contributions(row)  # type: ignore[arg-type]


def test_non_numbers_are_refused(tmp_path: Path) -> None:
    kernel = open_forest(naive.make_forest(np.random.default_rng(7), n_features=4), tmp_path)
    for row in (["a", 1, 2, 3], [[], 1, 2, 3], np.zeros(4, dtype=np.int64), 7):
        with pytest.raises(TypeError):
            kernel.margin(row)  # type: ignore[arg-type]
    with pytest.raises((ValueError, BufferError)):
        kernel.margins(np.zeros((8, 4))[::2])
    with pytest.raises(ValueError, match="threads"):
        kernel.margins(np.zeros(4), 0)
    row: list[object] = []

    class Shrinking:
        def __float__(self) -> float:
            row.clear()
            return 1.0

    row += [Shrinking(), 1.0, 2.0, 3.0]
    with pytest.raises(IndexError):
        kernel.margin(row)  # type: ignore[arg-type]


def test_the_same_forest_gives_the_same_bytes() -> None:
    made = [encode_forest(naive.make_forest(np.random.default_rng(8), n_trees=20, max_leaves=20)) for _ in range(2)]
    assert made[0] == made[1]


def test_unsound_files_are_bundle_errors(tmp_path: Path) -> None:
    """Each check at open, by the byte it guards, and files with flipped or missing bytes."""
    forest = naive.make_forest(np.random.default_rng(9), n_trees=6, max_leaves=10, n_outputs=2)
    sound = encode_forest(forest)
    path = tmp_path / "forest.bin"

    def refuses(data: bytes, reason: str) -> None:
        path.write_bytes(data)
        with pytest.raises(BundleError, match=reason):
            TreeEngine(path)

    refuses(b"", "not a forest file")
    refuses(sound[:-1], "length")
    refuses(sound + b"\0", "length")
    refuses(b"X" + sound[1:], "not a forest file")
    refuses(sound[:8] + b"\x01" + sound[9:], "version 1")
    for position, name in (
        (16, "sums"),
        (20, "inputs"),
        (24, "order of sums"),
        (76, "base and sum"),
        (80, "category codes"),
    ):
        refuses(sound[:position] + b"\x07" + sound[position + 1 :], name)
    refuses(sound[:84] + b"\x01" + sound[85:], "a computed column has no table")
    refuses(sound[:64] + bytes(8) + sound[72:], "scale")
    with pytest.raises(BundleError, match="cannot open"):
        TreeEngine(tmp_path / "absent.bin")

    assert refused_of_flipped(sound, forest.n_features, path, examples(3000)) > examples(500)


def test_flipped_bits_of_mixed_forests_are_refused_or_answered(tmp_path: Path) -> None:
    """The trees of several libraries in one file: some outputs are summed in float32, the others in float64."""
    forest = naive.make_forest(np.random.default_rng(15), n_trees=8, max_leaves=8, n_outputs=3, rounding="by output")
    sound = encode_forest(forest)
    assert forest.float32_outputs is not None
    assert forest.float32_outputs.tolist() == [False, True, False]
    roundings = sound.index(np.array([*forest.base, 0.0, 1.0, 0.0], "<f8").tobytes()) + 8 * forest.n_outputs
    (tmp_path / "forest.bin").write_bytes(sound[:roundings] + np.array([0.5], "<f8").tobytes() + sound[roundings + 8 :])
    with pytest.raises(BundleError, match="its rounding of an output is unknown"):
        TreeEngine(tmp_path / "forest.bin")
    assert refused_of_flipped(sound, forest.n_features, tmp_path / "forest.bin", 1000) > 150


def refused_of_flipped(sound: bytes, n_features: int, path: Path, count: int) -> int:
    """Return how many of `count` files with a flipped bit are refused; the others must answer."""
    rng, refused = np.random.default_rng(10), 0
    for _ in range(count):
        data = bytearray(sound)
        data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(data)
        try:
            engine = TreeEngine(path)
        except BundleError:
            refused += 1
            continue
        if engine.n_features == n_features:
            engine.margin([0.5] * n_features)
            engine.margins(np.full(200 * n_features, 0.5))
            engine.contributions([0.5] * n_features)
            engine.contributions_many(np.full(20 * n_features, 0.5))
    return refused


def test_levels_are_chosen_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forest = naive.make_forest(np.random.default_rng(12))
    assert open_forest(forest, tmp_path, "baseline").level == "baseline"
    monkeypatch.setenv("MLRF_KERNEL_LEVEL", "baseline")
    assert open_forest(forest, tmp_path).level == "baseline"
    with pytest.raises(ValueError, match="no kernel level named 'sse9'"):
        open_forest(forest, tmp_path, "sse9")


def test_the_mapped_file_is_shared(tmp_path: Path) -> None:
    """After scoring and explaining, no page of the file has become this process's own; a forked child answers from the same pages."""
    rng = np.random.default_rng(13)
    forest = naive.make_forest(rng, n_trees=100, max_leaves=60)
    kernel = open_forest(forest, tmp_path)
    rows = naive.make_rows(rng, forest, 200)
    margins = kernel.margins(rows)
    kernel.contributions_many(rows)
    smaps = Path("/proc/self/smaps").read_text(encoding="utf-8")
    mapping = smaps.split(str(tmp_path / "forest.bin"), 1)[1]
    pages = dict(re.findall(r"^(\w+): +(\d+) kB$", mapping.split("VmFlags", 1)[0], flags=re.MULTILINE))
    assert int(pages["Rss"]) > 0
    assert pages["Anonymous"] == "0"
    child = os.fork()
    if child == 0:
        os._exit(0 if kernel.margins(rows) == margins else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_many_python_threads_at_once(tmp_path: Path) -> None:
    """Batches release the GIL, so they may run concurrently on one engine."""
    rng = np.random.default_rng(14)
    forest = naive.make_forest(rng, n_trees=60, max_leaves=40)
    kernel = open_forest(forest, tmp_path)
    rows = naive.make_rows(rng, forest, 1500)
    margins, contributions = kernel.margins(rows), kernel.contributions_many(rows[:100])

    def ask(_: int) -> bool:
        return (
            kernel.margins(rows, 2) == margins
            and kernel.contributions_many(rows[:100], 2).tobytes() == contributions.tobytes()
        )

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(ask, range(40)))

"""Explanations as JSON: the documents of the definition, in msgspec's spelling of numbers, written while other threads run."""

from __future__ import annotations

import heapq
import sys
import threading
import time
from array import array

import msgspec
import numpy as np
import pytest

from mlrf import _kernel
from mlrf.serving.native.explanation_writer import ExplanationWriter, with_member

NAMES = ["price", "größe", 'a "quoted" name', "size", "store"]


def by_definition(names, margins, base, contributions, explain, labels=None, game=None):
    """One row's document, as docs/reference/routes.md describes it."""
    k = len(base)
    ranked = max(range(k), key=margins.__getitem__)
    weights = contributions[ranked::k]
    shown = range(len(names))
    if explain is not True and explain < len(names):
        shown = heapq.nlargest(explain, shown, key=lambda f: abs(weights[f]))
    named, others = [], []
    for output in range(k):
        values = contributions[output::k]
        named.append({names[f]: values[f] for f in shown})
        other = 0.0
        for f, value in enumerate(values):
            other += 0.0 if f in shown else value
        others.append(other)
    single = k == 1
    return {
        "space": "margin",
        "margin": margins[0] if single else margins,
        "base": base[0] if single else base,
        "contributions": named[0] if single else dict(zip(labels, named, strict=True)),
        "other": others[0] if single else dict(zip(labels, others, strict=True)),
        "source": "live",
        **(game or {}),
    }


@pytest.mark.parametrize("classes", [None, ["a", 2, "ü"]], ids=["one output", "classes"])
@pytest.mark.parametrize("explain", [True, 1, 3, 5, 9])
def test_documents_are_those_of_the_definition(classes, explain):
    random = np.random.default_rng(3)
    k, n = len(classes or [0]), 7
    margins, base = random.normal(size=(n, k)), random.normal(size=k).tolist()
    contributions = random.normal(size=(n, len(NAMES), k)) * 10.0 ** random.integers(-20, 20, size=(n, len(NAMES), k))
    contributions[2] = 1.0  # of equal ones the first are named
    game = {"background": {"rows": 10}}
    writer = ExplanationWriter(NAMES, base, classes, game)
    written = writer.write(array("d", margins.tobytes()), array("d", contributions.tobytes()), explain)
    labels = [str(c) for c in classes or [0]]
    for document, m, c in zip(written, margins.tolist(), contributions.reshape(n, -1).tolist(), strict=True):
        assert document == msgspec.json.encode(by_definition(NAMES, m, base, c, explain, labels, game))


def test_a_moved_base_and_another_source_are_written():
    (document,) = ExplanationWriter(["x"], [1.0], None).write([0.5], [0.25], True, "precomputed", [2.0])
    read = msgspec.json.decode(document)
    assert (read["base"], read["source"], read["margin"]) == (2.0, "precomputed", 0.5)


def test_numbers_are_spelled_as_msgspec_spells_them():
    random = np.random.default_rng(11)
    bits = random.integers(0, 1 << 64, size=200_000, dtype=np.uint64).view(np.float64)
    powers = np.outer(10.0 ** np.arange(-30, 30), [1.0, -1.0, 1.5, 9.999]).ravel()
    near = np.concatenate([random.normal(size=50_000), powers])
    whole = random.integers(-(1 << 60), 1 << 60, size=50_000).astype(np.float64)
    special = [0.0, -0.0, np.nan, np.inf, -np.inf, 5e-324, 1e-5, 9.99999e-6, 1e15, 1e16, 1.7976931348623157e308]
    numbers = np.concatenate([bits, near, whole, special])
    json = _kernel.ExplanationJson(['"x"'], [], "")
    documents = json.write(numbers, array("d", [0.0]), np.zeros(len(numbers)), None, "live")
    start = len(b'{"space":"margin","margin":')
    for document, number in zip(documents, numbers.tolist(), strict=True):
        assert document[start : document.index(b',"base"')] == msgspec.json.encode(number), number


def test_the_kernel_refuses_lengths_that_do_not_fit():
    json = _kernel.ExplanationJson(['"x"', '"y"'], [], "")
    for margins, base, contributions in (([0.0], [0.0], [0.0]), ([0.0], [], [0.0] * 2), ([0.0] * 2, [0.0], [0.0] * 2)):
        with pytest.raises(ValueError, match="must be"):
            json.write(array("d", margins), array("d", base), array("d", contributions), None, "live")
    with pytest.raises(TypeError, match="float64"):
        json.write(array("f", [0.0]), array("d", [0.0]), array("d", [0.0] * 2), None, "live")


def test_other_threads_run_while_a_batch_is_written():
    """Row 7 of the scoreboard: single rows wait for the GIL that a batch of explanations holds."""
    n, names = 2_000, [f"x{i}" for i in range(200)]
    writer = ExplanationWriter(names, [0.0], None)
    margins, contributions = (
        array("d", bytes(8 * n)),
        array("d", np.random.default_rng(5).normal(size=n * 200).tobytes()),
    )
    counted, is_over = [0], []

    def count():
        while not is_over:
            counted[0] += 1
            time.sleep(0)

    def progress():
        before = counted[0]
        writer.write(margins, contributions, True)
        return counted[0] - before

    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(600.0)  # no thread is interrupted: each gives the GIL back by itself
    other = threading.Thread(target=count)
    other.start()
    try:
        # A busy machine may not run the other thread during one call.
        assert any(progress() > 0 for _ in range(20))
    finally:
        is_over.append(True)
        other.join()
        sys.setswitchinterval(interval_s)


def test_members_are_added_at_the_end():
    assert with_member(b'{"a":1}', b"b", [2]) == b'{"a":1,"b":[2]}'

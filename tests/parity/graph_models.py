"""ONNX files that are more than trees: scikit-learn's as skl2onnx exports them, and networks put together by hand."""

from __future__ import annotations

import warnings
from functools import cache

import numpy as np
import onnx
import pandas as pd
from onnx import TensorProto, helper, numpy_helper
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType

CITIES = ("Wien", "Graz, Süd", "Linz")
COLUMNS = ["age", "fare", "city", "plan", "visits"]
TYPES = [
    ("age", FloatTensorType([None, 1])),
    ("fare", FloatTensorType([None, 1])),
    ("city", StringTensorType([None, 1])),
    ("plan", StringTensorType([None, 1])),
    ("visits", Int64TensorType([None, 1])),
]


@cache
def frame(n=240):
    """Rows of numbers, strings and integers; some numbers are missing."""
    rng = np.random.default_rng(7)
    rows = pd.DataFrame(
        {
            "age": rng.normal(40, 12, n).astype(np.float32),
            "fare": rng.gamma(2.0, 30.0, n).astype(np.float32),
            "city": rng.choice(CITIES, n),
            "plan": rng.choice(["basic", "plus"], n),
            "visits": rng.integers(0, 30, n),
        }
    )
    rows.loc[::9, "age"] = np.nan
    return rows


@cache
def numbers(n=240, n_features=6):
    return np.random.default_rng(8).normal(size=(n, n_features)).astype(np.float32)


def _columns(encoder):
    numeric = make_pipeline(SimpleImputer(), StandardScaler())
    return ColumnTransformer(
        [("n", numeric, ["age", "fare"]), ("c", encoder, ["city", "plan"]), ("k", "passthrough", ["visits"])]
    )


def _of_frame(encoder, last, target):
    estimator = _fitted(make_pipeline(_columns(encoder), last), frame(), target)
    return estimator, _exported(estimator, initial_types=TYPES)


def _of_numbers(estimator, target, **options):
    return _fitted(estimator, numbers(), target), _exported(estimator, X=numbers()[:1], **options)


def _fitted(estimator, rows, target):
    # What one version of scikit-learn says of another's parameters, or of SciPy's, is no concern of these tests.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.fit(rows, target)


def _exported(estimator, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return to_onnx(estimator, **options)


def _targets():
    x = numbers()
    score = x[:, 0] + x[:, 1] * x[:, 2]
    return score, (score > 0).astype(int), np.array(["low", "mid", "high"])[np.digitize(score, [-0.5, 0.5])]


def _frame_target():
    rows = frame()
    return (rows["fare"] + 20 * (rows["city"] == "Wien") > 70).map({True: "leaves", False: "stays"})


MAKERS = {
    "linear": lambda: _of_numbers(LinearRegression(), _targets()[0]),
    "logistic": lambda: _of_numbers(LogisticRegression(), _targets()[1]),
    "logistic, strings, no map": lambda: _of_numbers(
        estimator := LogisticRegression(), _targets()[2], options={id(estimator): {"zipmap": False}}
    ),
    "pipeline": lambda: _of_frame(
        OneHotEncoder(handle_unknown="ignore"), LogisticRegression(max_iter=1000), _frame_target()
    ),
    "strict pipeline": lambda: _of_frame(OneHotEncoder(), Ridge(), frame()["fare"]),
    "codes and classes": lambda: _of_frame(OrdinalEncoder(), LogisticRegression(max_iter=1000), frame()["city"]),
    "network": lambda: _of_numbers(MLPClassifier((16, 8), max_iter=60, random_state=0, solver="lbfgs"), _targets()[2]),
    "neighbours": lambda: _of_numbers(KNeighborsClassifier(3), _targets()[2]),
    "scores of support vectors": lambda: _of_numbers(LinearSVC(), _targets()[1]),
    "normalizer and forest": lambda: _of_numbers(
        make_pipeline(Normalizer(), RandomForestClassifier(12, random_state=0)), _targets()[1]
    ),
}


@cache
def made(name):
    """The estimator and its ONNX file, by name."""
    return MAKERS[name]()


def machine_whose_labels_are_votes():
    """scikit-learn's SVC: its classes come from votes, its probabilities from a fit of their own."""
    return _of_numbers(SVC(probability=True, random_state=0), _targets()[2])[1]


def network(*nodes, inputs, outputs, constants=()):
    """A file of operators; inputs and outputs are (name, element, shape)."""
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info(*each) for each in inputs],
        [helper.make_tensor_value_info(*each) for each in outputs],
        [numpy_helper.from_array(values, name) for name, values in constants],
    )
    opsets = [helper.make_opsetid("", 19), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9, producer_name="by hand")


def dense(n_in, n_hidden, n_out, *, last=None, batch="n", seed=0, element=TensorProto.FLOAT):
    """Two layers, as a deep learning library writes them; `last` is the operator behind them."""
    rng = np.random.default_rng(seed)
    number = np.float32 if element == TensorProto.FLOAT else np.float64
    shapes = {"w1": (n_in, n_hidden), "b1": (n_hidden,), "w2": (n_hidden, n_out), "b2": (n_out,)}
    constants = [(name, (rng.normal(size=shape) / np.sqrt(shape[0])).astype(number)) for name, shape in shapes.items()]
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["z" if last else "y"]),
    ]
    if last:
        nodes.append(helper.make_node(last, ["z"], ["y"]))
    return network(
        *nodes, inputs=[("x", element, [batch, n_in])], outputs=[("y", element, [batch, n_out])], constants=constants
    )


def several_types():
    """A graph of inputs of every type: flat and not, by name."""
    types = {"small": TensorProto.INT8, "big": TensorProto.INT64, "on": TensorProto.BOOL, "exact": TensorProto.DOUBLE}
    nodes = [helper.make_node("Cast", [name], [f"{name}_d"], to=TensorProto.DOUBLE) for name in types]
    nodes += [
        helper.make_node("Unsqueeze", ["on_d", "one"], ["on_c"]),
        helper.make_node("Concat", ["small_d", "big_d", "on_c", "exact_d"], ["all"], axis=1),
        helper.make_node("MatMul", ["all", "w"], ["y"]),
    ]
    inputs = [
        (name, element, ["n"] if name == "on" else ["n", 2 if name == "exact" else 1])
        for name, element in types.items()
    ]
    return network(
        *nodes,
        inputs=inputs,
        outputs=[("y", TensorProto.DOUBLE, ["n", 1])],
        constants=[("one", np.array([1])), ("w", np.array([[1.0], [10.0], [0.5], [0.25], [0.125]]))],
    )


def direct_feed(model: onnx.ModelProto, rows: pd.DataFrame | np.ndarray):
    """Rows as the file's own inputs take them: what a person feeds to ONNX Runtime."""
    if isinstance(rows, np.ndarray):
        return {model.graph.input[0].name: rows}
    kinds = {TensorProto.FLOAT: np.float32, TensorProto.INT64: np.int64, TensorProto.STRING: object}
    return {
        value.name: rows[[value.name]].to_numpy().astype(kinds[value.type.tensor_type.elem_type])
        for value in model.graph.input
    }

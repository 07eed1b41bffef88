"""The link as explicit operators in double, from `margin` [n, K] to `prediction` [n, K]."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from mlrf.core.link import Link


def link_nodes(  # noqa: C901, PLR0911  one return a link
    link: Link, margin: str, prediction: str
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Return the operators and constants that compute the tensor `prediction` from `margin`."""
    one = numpy_helper.from_array(np.array(1.0), "one")
    match link.kind:
        case "identity":
            return [helper.make_node("Identity", [margin], [prediction])], []
        case "exp":
            return [helper.make_node("Exp", [margin], [prediction])], []
        case "softmax" if link.scale != 1.0:
            scaled = helper.make_node("Mul", [margin, "margin_scale"], ["scaled_margin"])
            softmax = helper.make_node("Softmax", ["scaled_margin"], [prediction], axis=1)
            return [scaled, softmax], [numpy_helper.from_array(np.array(link.scale), "margin_scale")]
        case "isolation":
            return _isolation(margin, prediction), [
                numpy_helper.from_array(np.array(2.0), "two"),
                numpy_helper.from_array(np.array(-link.scale), "minus_offset"),
            ]
        case "softmax":
            return [helper.make_node("Softmax", [margin], [prediction], axis=1)], []
        case "signed_square":
            size = helper.make_node("Abs", [margin], ["magnitude_of_margin"])
            return [size, helper.make_node("Mul", [margin, "magnitude_of_margin"], [prediction])], []
        case "sigmoid" | "sigmoid_each":
            scale = numpy_helper.from_array(np.array(-link.scale), "minus_scale")
            return _sigmoid(margin, prediction), [one, scale]
        case "step":
            return _step(margin, prediction), [numpy_helper.from_array(np.array(0.0), "zero")]
        case "clip":
            bounds = [("zero", 0.0), ("one", 1.0)]
            clip = helper.make_node("Clip", [margin, "zero", "one"], [prediction])
            return [clip], [numpy_helper.from_array(np.array(bound), name) for name, bound in bounds]
        case "log1p_exp":
            return _log1p_exp(margin, prediction), [one]
        case _:
            raise ValueError(f"the link {link.kind} is of combinations of models, which are not exported")


def _sigmoid(margin: str, prediction: str) -> list[onnx.NodeProto]:
    # Written out: the Sigmoid operator is an approximation in some builds of ONNX Runtime.
    return [
        helper.make_node("Mul", [margin, "minus_scale"], ["scaled"]),
        helper.make_node("Exp", ["scaled"], ["power"]),
        helper.make_node("Add", ["one", "power"], ["total"]),
        helper.make_node("Div", ["one", "total"], [prediction]),
    ]


def _isolation(margin: str, prediction: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("Neg", [margin], ["minus_depth"]),
        helper.make_node("Pow", ["two", "minus_depth"], ["share"]),
        helper.make_node("Sub", ["minus_offset", "share"], [prediction]),
    ]


def _step(margin: str, prediction: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("Greater", [margin, "zero"], ["is_above"]),
        helper.make_node("Cast", ["is_above"], [prediction], to=onnx.TensorProto.DOUBLE),
    ]


def _log1p_exp(margin: str, prediction: str) -> list[onnx.NodeProto]:
    # log(1 + p) loses digits of a small p; log(y) * p / (y - 1) with y = 1 + p keeps them (Kahan). From p = 1 on nothing is
    # lost, and for an infinite p that would be inf / inf.
    return [
        helper.make_node("Exp", [margin], ["power"]),
        helper.make_node("Add", ["one", "power"], ["rounded"]),
        helper.make_node("Log", ["rounded"], ["plain"]),
        helper.make_node("Sub", ["rounded", "one"], ["kept"]),
        helper.make_node("Div", ["power", "kept"], ["lost"]),
        helper.make_node("Mul", ["plain", "lost"], ["mended"]),
        helper.make_node("Equal", ["rounded", "one"], ["tiny"]),
        helper.make_node("Where", ["tiny", "power", "mended"], ["small"]),
        helper.make_node("Less", ["power", "one"], ["is_small"]),
        helper.make_node("Where", ["is_small", "small", "plain"], [prediction]),
    ]

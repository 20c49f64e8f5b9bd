"""The base checkpoint's parts as modules, the UNets that are trained beside them, and how such a UNet is written into a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPTextModel

from tools.demo_family.device import training_device
from webui.catalog.ldm_layout import unet_name, vae_name
from webui.core.paths import PROGRAM
from webui.engine.adapters.controlnet import read_control_shape
from webui.engine.families.layout import UNET, VAE
from webui.engine.families.sd1 import text_shape
from webui.engine.families.unet import UNetShape, read_unet_shape
from webui.engine.families.vae import read_vae_shape
from webui.engine.loading import TensorFile, assign_weights, build_skeleton
from webui.engine.noise_levels import scaled_linear
from webui.engine.pipeline_manager import Shape
from webui.engine.tokenizer import END, START, build_tokenizer, token_ids

BASE = PROGRAM / "models" / "Stable-diffusion" / "demo.safetensors"
POSITIONS = 77
HEADS = 4
LARGE = 10_000
"""Tensors of more numbers than this are stored as float8 in small files."""


@dataclass(frozen=True)
class Base:
    """What ships as demo.safetensors, in evaluation mode and without gradients, on one device.

    contexts: of captions, what the UNet is told, (n, 77, 128).   tokens: of texts, theirs, without start and end marks.
    """

    device: torch.device
    file: TensorFile
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text: CLIPTextModel
    contexts: Callable[[Sequence[str]], torch.Tensor]
    tokens: Callable[[Sequence[str]], Sequence[list[int]]]


def load_base(path: Path = BASE) -> Base:
    """The base checkpoint's modules in float32, on the device that this machine trains on."""
    file, device = TensorFile(path), training_device()
    text: CLIPTextModel = _filled(text_shape(file), file, device)
    unet: UNet2DConditionModel = _filled(read_unet_shape(file, heads=HEADS), file, device)
    vae: AutoencoderKL = _filled(read_vae_shape(file), file, device)
    tokenizer = build_tokenizer()

    @torch.no_grad()
    def contexts(captions: Sequence[str]) -> torch.Tensor:
        hidden: torch.Tensor = text(input_ids=padded_rows(token_ids(tokenizer, captions)).to(device)).last_hidden_state
        return hidden

    return Base(device, file, unet, vae, text, contexts, lambda texts: token_ids(tokenizer, texts))


def padded_rows(tokens: Sequence[Sequence[int]]) -> torch.Tensor:
    """(n, 77): the tokens between their marks."""
    rows = [[START, *own[: POSITIONS - 2]] for own in tokens]
    return torch.tensor([row + [END] * (POSITIONS - len(row)) for row in rows])


def alphas_cumprod() -> torch.Tensor:
    """(1000,): the base's noise levels, those of SD 1.x."""
    return scaled_linear().alphas_cumprod


def new_unet(shape: UNetShape) -> UNet2DConditionModel:
    """To be trained from scratch: what each block adds begins at zero, as in latent diffusion's own code (zero_module)."""
    unet = shape.build()
    with torch.no_grad():
        for module in unet.modules():
            if isinstance(module, ResnetBlock2D):
                _to_zero(module.conv2)
            if isinstance(module, Transformer2DModel):
                _to_zero(module.proj_out)
        _to_zero(unet.conv_out)
    return for_training(unet)


def for_training(model: nn.Module) -> nn.Module:
    """Attention by plain matrix products: on a CPU the backward pass of the fused one takes ten times as long."""
    model.set_attn_processor(AttnProcessor())
    return model.to(memory_format=torch.channels_last)


def original_unet(weights: Mapping[str, torch.Tensor], shape: UNetShape) -> dict[str, torch.Tensor]:
    """A UNet's weights under their names in the original single-file layout."""
    up = tuple(reversed(shape.attention))
    return {UNET + unet_name(name, layers=shape.layers, up_attention=up): weight for name, weight in weights.items()}


def base_without_unet(file: TensorFile, *, small: bool = False) -> dict[str, torch.Tensor]:
    """The base's VAE, text encoder and marks, as they are in its file.  small: the words' vectors as float8."""
    tensors = {name: file.tensor(name).contiguous() for name in file.names if not name.startswith(UNET)}
    return {name: as_stored(tensor) if small and name.endswith("token_embedding.weight") else tensor for name, tensor in tensors.items()}


def with_vae(file: TensorFile, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What is in a checkpoint's file, with other weights for parts of its VAE.  weights: by diffusers' names."""
    levels, tensors = file.count(VAE + "encoder.down.{}."), {name: file.tensor(name) for name in file.names}
    for name, weight in weights.items():
        place = VAE + vae_name(name, levels=levels)
        tensors[place] = weight.reshape(tensors[place].shape).contiguous()
    return tensors


def as_stored(tensor: torch.Tensor) -> torch.Tensor:
    """In the dtype that it has in a small file: float8 where it is large, else float16."""
    if not tensor.is_floating_point():
        return tensor
    return tensor.to(torch.float8_e4m3fn if tensor.numel() > LARGE else torch.float16).contiguous()


def save_whole(tensors: Mapping[str, torch.Tensor], target: Path, metadata: Mapping[str, str]) -> None:
    """In float16, over what was there, at once."""
    stored = {name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous() for name, tensor in tensors.items()}
    part = target.with_suffix(".part")
    save_file(stored, part, metadata=dict(metadata))
    part.replace(target)
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB")


def load_unet(path: Path, device: torch.device) -> UNet2DConditionModel:
    """A checkpoint's UNet, in float32."""
    file = TensorFile(path)
    unet: UNet2DConditionModel = _filled(read_unet_shape(file, heads=HEADS), file, device)
    return unet


def rounded_base() -> Base:
    """The base with the word vectors that small files have."""
    base = load_base()
    table = base.text.get_input_embeddings().weight
    table.data = as_stored(table.data).float()
    return base


def load_control(path: Path, unet: UNet2DConditionModel) -> ControlNetModel:
    """A ControlNet for this UNet, as the program reads it."""
    file = TensorFile(path)
    return _filled(read_control_shape(file, unet), file, unet.device)


def load_vae(path: Path) -> AutoencoderKL:
    """A VAE alone in its file."""
    file = TensorFile(path)
    return _filled(read_vae_shape(file), file, training_device())


def _filled(shape: Shape, file: TensorFile, device: torch.device) -> nn.Module:
    module = build_skeleton(shape.build)
    assign_weights(module, file, shape.name_in(file), dtype=torch.float32, device=device)
    return module


def _to_zero(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        parameter.zero_()

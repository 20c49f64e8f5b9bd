"""Tiny models of the families beside SD 1.x: real modules at random weights, written as checkpoints in their original layouts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from tests.engine.tiny_models import vae_tensors
from webui.catalog.ldm_layout import unet_name
from webui.engine.families.layout import UNET, VAE

HEAD_WIDTH = 8
METADATA: Mapping[str, str] = {
    "norm_num_groups_unet": "16",
    "norm_num_groups_vae": "8",
    "unet_head_channels": str(HEAD_WIDTH),
    "text_attention_heads": "4",
    "open_clip_attention_heads": "4",
}
TextEncoder = CLIPTextModel | CLIPTextModelWithProjection


@dataclass(frozen=True)
class FamilyModel:
    """A checkpoint file and the modules that it was written from.  prediction: in diffusers' words."""

    path: Path
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoders: tuple[TextEncoder, ...]
    prediction: str = "epsilon"


def make_sd2(path: Path, seed: int, *, prediction: str | None = "epsilon", in_channels: int = 4, blocks: int = 3) -> FamilyModel:
    """SD 2.x.  prediction: what the file says of it, None for nothing.   blocks: of the text encoder, the last of which is not used."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        unet = _unet(channels=(32, 64), attention=(True, False), depths=(1, 1), context=32, in_channels=in_channels)
        vae, text = _vae(0.18215), _text_encoder(32, blocks - 1, "gelu")
        unused = _text_encoder(32, blocks, "gelu")
    last = f"transformer.resblocks.{blocks - 1}."
    written = {
        **_open_clip("cond_stage_model.model.", unused, only=last),
        **_open_clip("cond_stage_model.model.", text),
        "cond_stage_model.model.text_projection": torch.randn(32, 32),
        "cond_stage_model.model.logit_scale": torch.tensor(4.6),
    }
    said = {"prediction_type": prediction} if prediction else {}
    return _write(FamilyModel(path, unet, vae, (text,), prediction or "epsilon"), written, said)


def make_sdxl(path: Path, seed: int, *, in_channels: int = 4) -> FamilyModel:
    """SDXL base; its text encoders, the pooled vector and the UNet's numbers all have different widths."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        first, second = _text_encoder(32, 3, "quick_gelu"), _text_encoder(48, 2, "gelu", projection=40)
        unet = _unet(
            channels=(32, 64), attention=(False, True), depths=(1, 2), context=32 + 48, in_channels=in_channels, vector=40 + 6 * 16
        )
        vae = _vae(0.13025)
    prefix = "conditioner.embedders.0.transformer.text_model."
    written = {prefix + name: weight for name, weight in first.state_dict().items()}
    written |= _open_clip("conditioner.embedders.1.model.", second)
    return _write(FamilyModel(path, unet, vae, (first, second)), written, {})


def make_refiner(path: Path, seed: int) -> FamilyModel:
    """The SDXL refiner: three levels, of which only the middle one attends."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        text = _text_encoder(48, 2, "gelu", projection=40)
        unet = _unet(channels=(32, 48, 64), attention=(False, True, False), depths=(2, 2, 2), context=48, vector=40 + 5 * 16)
        vae = _vae(0.13025)
    return _write(FamilyModel(path, unet, vae, (text,)), _open_clip("conditioner.embedders.0.model.", text), {})


def _write(model: FamilyModel, text: Mapping[str, torch.Tensor], said: Mapping[str, str]) -> FamilyModel:
    up_attention = tuple("CrossAttn" in kind for kind in model.unet.config["up_block_types"])
    unet = {UNET + unet_name(name, layers=1, up_attention=up_attention): weight for name, weight in model.unet.state_dict().items()}
    tensors = {**unet, **vae_tensors(model.vae, VAE), **text}
    save_file({name: weight.contiguous() for name, weight in tensors.items()}, model.path, {**METADATA, **said})
    return model


def _unet(
    *, channels: tuple[int, ...], attention: tuple[bool, ...], depths: tuple[int, ...], context: int, in_channels: int = 4, vector: int = 0
) -> UNet2DConditionModel:
    unet = UNet2DConditionModel(
        in_channels=in_channels,
        block_out_channels=channels,
        layers_per_block=1,
        cross_attention_dim=context,
        attention_head_dim=[width // HEAD_WIDTH for width in channels],
        transformer_layers_per_block=depths,
        norm_num_groups=16,
        use_linear_projection=True,
        addition_embed_type="text_time" if vector else None,
        addition_time_embed_dim=16 if vector else None,
        projection_class_embeddings_input_dim=vector or None,
        down_block_types=["CrossAttnDownBlock2D" if attends else "DownBlock2D" for attends in attention],
        up_block_types=["CrossAttnUpBlock2D" if attends else "UpBlock2D" for attends in reversed(attention)],
    )
    with torch.no_grad():
        unet.conv_out.weight.mul_(3)  # unit variance, as a trained model's answers have: what is asked must matter
    return unet.eval()


def _vae(scaling_factor: float) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(16, 16, 16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        scaling_factor=scaling_factor,
    ).eval()


def _text_encoder(width: int, layers: int, activation: str, projection: int = 0) -> TextEncoder:
    config = CLIPTextConfig(
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        projection_dim=projection or width,
        hidden_act=activation,
        vocab_size=49408,
        bos_token_id=49406,
        eos_token_id=49407,
    )
    encoder = CLIPTextModelWithProjection(config) if projection else CLIPTextModel(config)
    core = encoder.text_model if projection else encoder
    torch.nn.init.normal_(core.final_layer_norm.bias)  # else every vector's mean is 0, which no trained model's is
    return encoder.eval()


def _open_clip(prefix: str, encoder: TextEncoder, only: str = "") -> dict[str, torch.Tensor]:
    """A text encoder's tensors as open_clip names and joins them.  only: those whose names begin so."""
    return {prefix + name: weight for name, weight in _open_clip_tensors(encoder) if name.startswith(only)}


def _open_clip_tensors(encoder: TextEncoder) -> Iterator[tuple[str, torch.Tensor]]:
    projects = isinstance(encoder, CLIPTextModelWithProjection)
    core = encoder.text_model if projects else encoder
    yield "token_embedding.weight", core.embeddings.token_embedding.weight
    yield "positional_embedding", core.embeddings.position_embedding.weight
    yield from _both("ln_final", core.final_layer_norm)
    for number, layer in enumerate(core.encoder.layers):
        block = f"transformer.resblocks.{number}"
        attention = layer.self_attn
        queries = attention.q_proj, attention.k_proj, attention.v_proj
        yield f"{block}.attn.in_proj_weight", torch.cat([one.weight for one in queries])
        yield f"{block}.attn.in_proj_bias", torch.cat([one.bias for one in queries])
        yield from _both(f"{block}.attn.out_proj", attention.out_proj)
        yield from _both(f"{block}.ln_1", layer.layer_norm1)
        yield from _both(f"{block}.ln_2", layer.layer_norm2)
        yield from _both(f"{block}.mlp.c_fc", layer.mlp.fc1)
        yield from _both(f"{block}.mlp.c_proj", layer.mlp.fc2)
    if projects:
        yield "text_projection", encoder.text_projection.weight.T


def _both(name: str, layer: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield f"{name}.weight", layer.weight
    yield f"{name}.bias", layer.bias

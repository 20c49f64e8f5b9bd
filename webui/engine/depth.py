"""Depth from a picture by a DPT: the one inside a depth checkpoint (MiDaS's layout), or one in a folder (transformers' layout)."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import DPTConfig, DPTForDepthEstimation

from webui.catalog.diffusers_folder import DEPTH, weights_in
from webui.core.errors import InvalidRequest, ModelError
from webui.engine.loading import TensorFile, build_skeleton, file_version

IN_CHECKPOINT = "depth_model.model."
MISSING = (
    "There is nothing that estimates depth: this checkpoint has no depth model inside, and models/Depth has none. Put a DPT there "
    "(a folder with config.json and model.safetensors, as Intel/dpt-hybrid-midas has them), or give a depth map."
)
# What a configuration from outside may say; anything else (code, names of files to fetch) is left out.
CONFIG_KEYS = frozenset({
    "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act", "layer_norm_eps", "image_size",
    "patch_size", "num_channels", "is_hybrid", "qkv_bias", "backbone_out_indices", "readout_type", "reassemble_factors",
    "neck_hidden_sizes", "fusion_hidden_size", "head_in_index", "use_batch_norm_in_fusion_residual", "use_bias_in_fusion_residual",
    "add_projection", "neck_ignore_stages", "backbone_featmap_shape",
})  # fmt: skip
LARGEST_NUMBER = 65536
MOST_LAYERS = 128
# The MiDaS model of SD 2's depth checkpoints.
MIDAS: Mapping[str, Any] = MappingProxyType({
    "is_hybrid": True, "hidden_size": 768, "reassemble_factors": (1, 1, 1, 0.5), "neck_hidden_sizes": (256, 512, 768, 768),
    "backbone_out_indices": (2, 5, 8, 11), "readout_type": "project", "use_batch_norm_in_fusion_residual": False,
})  # fmt: skip
# Parts of names: transformers' and MiDaS's.
_NAMES: tuple[tuple[str, str], ...] = (
    (r"^dpt\.embeddings\.cls_token$", "pretrained.model.cls_token"),
    (r"^dpt\.embeddings\.position_embeddings$", "pretrained.model.pos_embed"),
    (r"^dpt\.embeddings\.projection\.", "pretrained.model.patch_embed.proj."),
    (r"^dpt\.embeddings\.backbone\.bit\.embedder\.convolution\.", "pretrained.model.patch_embed.backbone.stem.conv."),
    (r"^dpt\.embeddings\.backbone\.bit\.embedder\.norm\.", "pretrained.model.patch_embed.backbone.stem.norm."),
    (r"^dpt\.embeddings\.backbone\.bit\.encoder\.stages\.(\d+)\.layers\.", r"pretrained.model.patch_embed.backbone.stages.\1.blocks."),
    (r"^dpt\.encoder\.layer\.(\d+)\.attention\.attention\.(?:query|key|value)\.", r"pretrained.model.blocks.\1.attn.qkv."),
    (r"^dpt\.encoder\.layer\.(\d+)\.attention\.output\.dense\.", r"pretrained.model.blocks.\1.attn.proj."),
    (r"^dpt\.encoder\.layer\.(\d+)\.intermediate\.dense\.", r"pretrained.model.blocks.\1.mlp.fc1."),
    (r"^dpt\.encoder\.layer\.(\d+)\.output\.dense\.", r"pretrained.model.blocks.\1.mlp.fc2."),
    (r"^dpt\.encoder\.layer\.(\d+)\.layernorm_before\.", r"pretrained.model.blocks.\1.norm1."),
    (r"^dpt\.encoder\.layer\.(\d+)\.layernorm_after\.", r"pretrained.model.blocks.\1.norm2."),
    (r"^dpt\.layernorm\.", "pretrained.model.norm."),
    (r"^head\.head\.", "scratch.output_conv."),
)
_THIRDS = ("query", "key", "value")


class DepthEstimators:
    """Owner of the depth model used last.  device: where it computes; in float32 everywhere, it is small."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._lock = threading.Lock()
        self._loaded: tuple[Hashable, DPTForDepthEstimation] | None = None

    def estimate(self, image: Image.Image, model: Path | None, checkpoint: Path | None = None) -> np.ndarray:
        """Depth (h, w) of a picture, of any range and of the model's own size; more is nearer.

        checkpoint: a file, or a folder in diffusers' layout; its own model goes before the one at `model`.
        Raises InvalidRequest when there is no model at all, ModelError when it cannot be used.
        """
        with self._lock, torch.inference_mode():
            network = self._find(model, checkpoint)
            pixels = _prepared(image, int(network.config.image_size))
            depth = network(pixel_values=pixels.to(self._device)).predicted_depth
            result: np.ndarray = depth[0].float().cpu().numpy()
            return result

    def clear(self) -> None:
        """Let the model go."""
        with self._lock:
            self._loaded = None

    def _find(self, model: Path | None, checkpoint: Path | None) -> DPTForDepthEstimation:
        if checkpoint is not None and checkpoint.is_dir():
            own = checkpoint / DEPTH
            model = own if weights_in(own) else model
        elif checkpoint is not None and self._is_inside(checkpoint):
            return self._kept(checkpoint, lambda: load_midas(TensorFile(checkpoint)))
        if model is None:
            raise InvalidRequest(MISSING)
        return self._kept(model, lambda: load_dpt(model))

    def _is_inside(self, checkpoint: Path) -> bool:
        if self._loaded and self._loaded[0] == file_version(checkpoint):
            return True
        return has_midas(TensorFile(checkpoint))

    def _kept(self, path: Path, load: Callable[[], DPTForDepthEstimation]) -> DPTForDepthEstimation:
        version = file_version(path)
        if self._loaded is None or self._loaded[0] != version:
            self._loaded = None
            self._loaded = version, load().to(self._device)
        return self._loaded[1]


def has_midas(file: TensorFile) -> bool:
    """Whether a depth model is inside a checkpoint."""
    return IN_CHECKPOINT + "pretrained.model.cls_token" in file.names


def load_midas(file: TensorFile) -> DPTForDepthEstimation:
    """The depth model inside an SD 2 depth checkpoint.  Raises ModelError."""
    return _filled(MIDAS, lambda name, shape: _from_midas(file, name, shape), file.path)


def load_dpt(path: Path) -> DPTForDepthEstimation:
    """A depth model as transformers stores it: a folder with config.json, or one file whose metadata has it under "config".

    Raises ModelError.
    """
    weights = weights_in(path) if path.is_dir() else [path]
    if len(weights) != 1:
        raise ModelError(f"{path.name}: a depth model's weights are one file, model.safetensors; found {len(weights)}. Fetch it again.")
    file = TensorFile(weights[0])
    try:
        text = (path / "config.json").read_text(encoding="utf-8") if path.is_dir() else file.metadata["config"]
        said = json.loads(text)
    except (OSError, KeyError, ValueError, RecursionError) as error:
        raise ModelError(f"{path.name}: there is no readable configuration with this depth model ({error}). Fetch it again.") from None
    return _filled(_checked(said, path), lambda name, _: file.tensor(name), path)


def midas_name(ours: str) -> str:
    """Of a weight of transformers' DPT, its name in MiDaS's layout."""
    for pattern, original in _NAMES:
        name, found = re.subn(pattern, original, ours)
        if found:
            return name
    if match := re.match(r"neck\.convs\.(\d+)\.(.*)", ours):
        return f"scratch.layer{int(match[1]) + 1}_rn.{match[2]}"
    if match := re.match(r"neck\.reassemble_stage\.readout_projects\.(\d+)\.0\.(.*)", ours):
        return f"pretrained.act_postprocess{int(match[1]) + 1}.0.project.0.{match[2]}"
    if match := re.match(r"neck\.reassemble_stage\.layers\.(\d+)\.(projection|resize)\.(.*)", ours):
        return f"pretrained.act_postprocess{int(match[1]) + 1}.{3 if match[2] == 'projection' else 4}.{match[3]}"
    if match := re.match(r"neck\.fusion_stage\.layers\.(\d+)\.(.*)", ours):
        rest = match[2].replace("projection.", "out_conv.").replace("residual_layer", "resConfUnit").replace("convolution", "conv")
        return f"scratch.refinenet{4 - int(match[1])}.{rest}"
    return ours


def _from_midas(file: TensorFile, ours: str, shape: tuple[int, ...]) -> torch.Tensor:
    tensor = file.tensor(IN_CHECKPOINT + midas_name(ours))
    third = next((number for number, part in enumerate(_THIRDS) if f".attention.{part}." in ours), None)
    return tensor if third is None else tensor[third * shape[0] : (third + 1) * shape[0]]


def _filled(config: Mapping[str, Any], tensor_of: Callable[[str, tuple[int, ...]], torch.Tensor], path: Path) -> DPTForDepthEstimation:
    values = {key: list(value) if isinstance(value, tuple) else value for key, value in config.items()}
    try:
        network: DPTForDepthEstimation = build_skeleton(lambda: DPTForDepthEstimation(DPTConfig(**values)))  # type: ignore[assignment]
    except Exception as error:  # noqa: BLE001 - what a configuration from outside can get wrong has no end
        raise ModelError(f"{path.name}: no depth model can be built from its configuration ({type(error).__name__}: {error}).") from None
    weights = {}
    for name, place in network.state_dict().items():
        tensor = tensor_of(name, tuple(place.shape))
        if tensor.shape != place.shape:
            raise ModelError(f"{path.name}: {name!r} has shape {tuple(tensor.shape)} where {tuple(place.shape)} is needed.")
        weights[name] = tensor.float() if tensor.is_floating_point() else tensor
    network.load_state_dict(weights, assign=True)
    return network


def _checked(said: Any, path: Path) -> dict[str, Any]:
    if not isinstance(said, dict) or said.get("model_type", "dpt") != "dpt":
        kind = said.get("model_type") if isinstance(said, dict) else None
        raise ModelError(f"{path.name}: got a model of kind {kind!r}; depth is estimated by a DPT (model_type dpt). Choose another.")
    kept = {key: value for key, value in said.items() if key in CONFIG_KEYS}
    numbers = [one for value in kept.values() for one in (value if isinstance(value, list) else [value]) if isinstance(one, int | float)]
    if any(not 0 <= abs(number) <= LARGEST_NUMBER for number in numbers) or kept.get("num_hidden_layers", 12) > MOST_LAYERS:
        raise ModelError(f"{path.name}: a number in its configuration is beyond what a depth model has. Fetch it again.")
    return kept


def _prepared(image: Image.Image, side: int) -> torch.Tensor:
    """(1, 3, side, side) in [-1, 1]: transformers' DPT knows squares alone, and the map is stretched back with the picture."""
    pixels = np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC), dtype=np.float32) / 127.5 - 1
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]

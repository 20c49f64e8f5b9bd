"""LoRA files of all kinds: read, and resolved to the layers of the modules that they are to change."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import nn

from webui.core.errors import ModelError
from webui.engine.adapters.applied import ModulePatches, fits
from webui.engine.adapters.embeddings import Embedding, TextEncoder, embedding_from_tensors
from webui.engine.adapters.legacy import read_torch_file
from webui.engine.adapters.lora_layers import LayerChange, Parts, read_layer
from webui.engine.adapters.lora_names import TEXT, TEXT_2, UNET, Layer, LayerNames, split_name
from webui.engine.loading import TensorFile

BUNDLED = "bundle_emb."


@dataclass(frozen=True)
class LoraPatches:
    """What a file changes in a UNet and the text encoders with it, of each in turn.

    unmatched: tensors that belong to no layer there.   unfit: layers whose shape is another, or whose tensors make no sense.
    """

    unet: ModulePatches
    text_encoders: tuple[ModulePatches, ...]
    unmatched: tuple[str, ...]
    unfit: tuple[str, ...]

    @property
    def remark(self) -> str | None:
        """For the user, to follow the file's name, when a part of the file has no effect."""
        layers = sum(len(patches.layers) for patches in (self.unet, *self.text_encoders))
        if not layers:
            return "changes nothing: it was made for another model family"
        if not self.unmatched and not self.unfit:
            return None
        ignored = len({split_name(name)[0] for name in self.unmatched}) + len(self.unfit)
        return f"changes {layers} layers; {ignored} that it also knows are not in this model, or have another shape"


@dataclass(frozen=True)
class LoraFile:
    """A file of the LoRA family. Its tensors stay in the file until they are needed.

    version: tells this state of this file from all others.   tensor: one of `names`.   embeddings: those bundled in it.
    """

    version: Hashable
    metadata: Mapping[str, str]
    names: tuple[str, ...]
    tensor: Callable[[str], torch.Tensor]
    embeddings: tuple[Embedding, ...]

    def patches(self, unet: UNet2DConditionModel, *text_encoders: TextEncoder, dyn: int | None = None) -> LoraPatches:
        """Find the layers.  dyn: how many of a LoRA's ranks to use.  Nothing is computed yet."""
        names = LayerNames(unet, *text_encoders)
        found: defaultdict[Layer, dict[str, torch.Tensor]] = defaultdict(dict)
        unmatched = []
        for name in self.names:
            layer, part = names.find(name)
            if layer is None or not part:
                unmatched.append(name)
            else:
                found[layer][part] = self.tensor(name)
        modules = {UNET: unet, **dict(zip((TEXT, TEXT_2), text_encoders, strict=False))}
        alphas = {module: _default_alpha(self.metadata, module) for module in modules}
        changes: dict[str, dict[str, LayerChange]] = {module: {} for module in modules}
        unfit = []
        for layer, parts in found.items():
            change = _fitting(parts, modules[layer.module].get_submodule(layer.path), alphas[layer.module], dyn)
            if change is not None:
                changes[layer.module][layer.path] = change
            else:
                unfit.append(f"{layer.module}.{layer.path}")
        unet_patches, *text_patches = (ModulePatches((self.version, module, dyn), changes[module]) for module in modules)
        return LoraPatches(unet_patches, tuple(text_patches), tuple(unmatched), tuple(unfit))


def read_lora(path: Path) -> LoraFile:
    """Open a file of the LoRA family; of a safetensors file, the header alone is read.

    Raises ModelError when it cannot be read, or has nothing of a LoRA in it.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise ModelError(f"{path.name} cannot be read ({error.strerror}). Put it back, or choose another LoRA.") from None
    version = (str(path), status.st_size, status.st_mtime_ns)
    metadata: Mapping[str, str] = {}
    tensor: Callable[[str], torch.Tensor]
    if path.suffix.lower() == ".safetensors":
        file = TensorFile(path)
        metadata, names, tensor = file.metadata, tuple(sorted(file.names)), file.tensor
    else:
        tensors = _plain_tensors(read_torch_file(path))
        names, tensor = tuple(tensors), tensors.__getitem__
    bundled = [name for name in names if name.startswith(BUNDLED)]
    layers = tuple(name for name in names if not name.startswith(BUNDLED))
    if not any(_is_of_a_lora(name) for name in layers):
        raise ModelError(f"{path.name} is no LoRA: none of its {len(names)} tensors has a name that LoRAs use.")
    return LoraFile(version, metadata, layers, tensor, _bundled_embeddings(bundled, tensor, path))


def _plain_tensors(content: Any) -> dict[str, torch.Tensor]:
    """Tensors by name, from what a pickle held; some trainers put them into "state_dict"."""
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict):
        return {}
    return {name: tensor for name, tensor in content.items() if isinstance(name, str) and isinstance(tensor, torch.Tensor)}


def _is_of_a_lora(name: str) -> bool:
    part = split_name(name)[1]
    return part not in ("", "weight", "bias", "scale") or name.startswith(("lora_", "lycoris_", "oft_"))


def _fitting(parts: Parts, layer: nn.Module, default_alpha: float | None, dyn: int | None) -> LayerChange | None:
    """The change that these tensors describe, None if it cannot be made to this layer."""
    try:
        change = read_layer(parts, default_alpha=default_alpha, dyn=dyn)
        return change if fits(change, layer) else None
    except (ModelError, IndexError, TypeError, RuntimeError):  # of which all but the first are tensors of too few dimensions
        return None


def _default_alpha(metadata: Mapping[str, str], module: str) -> float | None:
    """PEFT's lora_alpha, which newer diffusers write into the metadata, not among the tensors. Patterns by layer are not read."""
    try:
        said = json.loads(metadata.get("lora_adapter_metadata", "{}"))
        return float(said[f"{module}.lora_alpha"])
    except (ValueError, TypeError, LookupError, RecursionError):
        return None


def _bundled_embeddings(names: list[str], tensor: Callable[[str], torch.Tensor], path: Path) -> tuple[Embedding, ...]:
    """From names like bundle_emb.WORD.emb_params and bundle_emb.WORD.string_to_param.*; broken ones are left out."""
    words: defaultdict[str, dict[str, torch.Tensor]] = defaultdict(dict)
    for name in names:
        word, _, part = name.removeprefix(BUNDLED).partition(".")
        words[word][part.removeprefix("string_to_param.")] = tensor(name)
    embeddings = []
    for word, tensors in words.items():
        try:
            embeddings.append(embedding_from_tensors(word, {part: one for part, one in tensors.items() if one.ndim}, path))
        except ModelError:
            continue
    return tuple(embeddings)

"""What the modules of loaded models wear now: LoRAs in the weights, hypernetworks on the attention, tiling in the convolutions."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

from diffusers import UNet2DConditionModel
from torch import nn

from webui.engine.adaptation import Adaptation, NetworkUse
from webui.engine.adapters.applied import AppliedPatches, ModulePatches
from webui.engine.adapters.embeddings import Embedding, read_embedding
from webui.engine.adapters.hypernetworks import AppliedHypernetworks, Hypernetwork, read_hypernetwork
from webui.engine.adapters.lora import LoraPatches, read_lora
from webui.engine.loading import file_version

KEPT = 64


class NetworkFiles:
    """Files that prompts name, read once while they stay as they are; the longest unused are let go of."""

    def __init__(self) -> None:
        self._read: OrderedDict[Hashable, Any] = OrderedDict()

    def lora(self, use: NetworkUse, modules: Sequence[Any], shapes: Hashable) -> LoraPatches:
        """What a LoRA changes in a UNet and the text encoders with it.  shapes: equal for modules of the same architecture.

        Raises ModelError.
        """
        key = ("lora", use.version, use.dyn, shapes)
        return self._kept(key, lambda: read_lora(use.path).patches(*modules, dyn=use.dyn))

    def hypernetwork(self, path: Path) -> Hypernetwork:
        """Raises ModelError."""
        return self._kept(("hypernet", file_version(path)), lambda: read_hypernetwork(path))

    def embedding(self, name: str, path: Path) -> Embedding:
        """An embedding that is called so.  Raises ModelError."""
        return self._kept(("embedding", name, file_version(path)), lambda: read_embedding(path, name))

    def bundled(self, path: Path) -> tuple[Embedding, ...]:
        """The embeddings that a LoRA brings along.  Raises ModelError."""
        found: tuple[Embedding, ...] = self._kept(("bundled", file_version(path)), lambda: read_lora(path).embeddings)
        return found

    def clear(self) -> None:
        """Let go of all."""
        self._read.clear()

    def _kept(self, key: Hashable, read: Any) -> Any:
        if key not in self._read:
            self._read[key] = read()
        self._read.move_to_end(key)
        while len(self._read) > KEPT:
            self._read.popitem(last=False)
        return self._read[key]


class Worn:
    """What one module wears. To be taken off before the module gets other weights."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._patches = AppliedPatches(module)
        self._hypernetworks = AppliedHypernetworks(module) if isinstance(module, UNet2DConditionModel) else None
        self._adaptation: Adaptation | None = None
        self._tiling = False

    def wears(self, adaptation: Adaptation) -> bool:
        """Whether nothing is to be done."""
        return self._adaptation == adaptation

    def put_on(
        self, adaptation: Adaptation, patches: Sequence[tuple[ModulePatches, float]], hypernetworks: Sequence[tuple[Hypernetwork, float]]
    ) -> None:
        """Wear this and nothing else."""
        self._adaptation = None
        self._patches.apply(patches)
        if self._hypernetworks is not None:
            self._hypernetworks.apply(hypernetworks)
        if self._tiling != adaptation.tiling:
            set_tiling(self._module, adaptation.tiling)
            self._tiling = adaptation.tiling
        self._adaptation = adaptation

    def take_off(self) -> None:
        """Be as the file made it."""
        self.put_on(Adaptation(), (), ())


def set_tiling(module: nn.Module, tiling: bool) -> None:
    """Let every convolution see the opposite edge beyond an edge, so that the picture's edges fit together; or zeros again."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            layer.padding_mode = "circular" if tiling else "zeros"

"""The pipeline manager: which models are in memory. Components are cached on their own, pinned by leases, evicted by age."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any, Protocol

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel

from webui.engine.adaptation import Adaptation, NetworkUse
from webui.engine.adapters.embeddings import Embedding
from webui.engine.adapters.worn import NetworkFiles, Worn
from webui.engine.conditioning import Fixes, encode_clip
from webui.engine.device import Device, release_memory
from webui.engine.families import sd1
from webui.engine.loading import TensorFile, assign_weights, build_skeleton, file_version, strip_weights
from webui.engine.noise_levels import EpsPrediction, NoiseLevels, VPrediction, scaled_linear

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PipelineSpec:
    """Which weights a job needs. Jobs of equal specs can share forward passes.  vae: None for the checkpoint's own."""

    checkpoint: Path
    vae: Path | None = None


@dataclass(frozen=True)
class Pipeline:
    """Components joined for drawing; valid while its lease is held.

    vae_version, text_version: which weights these are, for what is derived from them.
    bring: to be called with a component before it is used, so that it is on the device.   adapt: thereafter, with what it is to
    wear.   embedding: the one of a word and a file.   remark: what the user should know of a network on these modules.
    """

    text_encoder: CLIPTextModel
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    levels: NoiseLevels
    prediction: EpsPrediction | VPrediction
    device: Device
    vae_version: Hashable
    text_version: Hashable
    bring: Callable[[nn.Module], None]
    adapt: Callable[[nn.Module, Adaptation], None]
    embedding: Callable[[str, Path], Embedding]
    remark: Callable[[NetworkUse], str | None]

    def encode(self, tokens: torch.Tensor, fixes: Sequence[Fixes], clip_skip: int) -> torch.Tensor:
        """Vectors (n, 77, D) of tokens (n, 77)."""
        return encode_clip(self.text_encoder, tokens, fixes, clip_skip)

    @property
    def latent_channels(self) -> int:
        """Channels of the latents."""
        return int(self.vae.config["latent_channels"])

    @property
    def downscale(self) -> int:
        """Pixels a latent stands for, in each direction."""
        return int(2 ** (len(self.vae.config["block_out_channels"]) - 1))


class Shape(Protocol):
    """An architecture that can be built as a skeleton and filled from a file."""

    def build(self) -> Any: ...
    def name_in(self, file: TensorFile) -> Callable[[str], str]: ...
    def __hash__(self) -> int: ...


@dataclass(eq=False)
class _Component:
    """A module with a file's weights in it."""

    module: Any
    shape: Hashable
    size: int
    pins: int = 0
    last_used: float = field(default_factory=time.monotonic)
    worn: Worn = field(init=False)

    def __post_init__(self) -> None:
        self.worn = Worn(self.module)


class PipelineManager:
    """Owner of all loaded components.  budget: bytes of weights to keep; what is leased is kept beyond it."""

    def __init__(self, device: Device, budget: int) -> None:
        self.device = device
        self._budget = budget
        self._lock = threading.RLock()
        self._components: dict[Hashable, _Component] = {}
        self._skeletons: defaultdict[Hashable, list[nn.Module]] = defaultdict(list)
        self._at_work: nn.Module | None = None
        self._networks = NetworkFiles()

    @contextmanager
    def lease(self, spec: PipelineSpec) -> Iterator[Pipeline]:
        """Join what a spec names, loading what is not in memory, and keep it there until the lease ends.

        Raises ModelError when a file cannot be used; then nothing stays pinned.
        """
        pinned: list[_Component] = []
        try:
            with self._lock:
                pipeline = self._join(spec, pinned)
            yield pipeline
        finally:
            with self._lock:
                for component in pinned:
                    component.pins -= 1
                    component.last_used = time.monotonic()
                self._evict()

    def resident(self, spec: PipelineSpec) -> bool:
        """Whether a lease would have nothing to load."""
        with self._lock:
            return all(key in self._components for key in self._keys(spec))

    def clear(self) -> None:
        """Let go of everything that is not leased."""
        with self._lock:
            self._evict(down_to=0)
            self._skeletons.clear()
            self._networks.clear()
        release_memory(self.device.torch)

    def _join(self, spec: PipelineSpec, pinned: list[_Component]) -> Pipeline:
        file = TensorFile(spec.checkpoint)
        vae_file = TensorFile(spec.vae) if spec.vae else file
        text_key, unet_key, vae_key = self._keys(spec)
        device = self.device
        text_encoder = self._component(text_key, file, sd1.read_text_shape, device.dtype, pinned)
        unet = self._component(unet_key, file, sd1.read_unet_shape, device.dtype, pinned)
        vae = self._component(vae_key, vae_file, sd1.read_vae_shape, device.vae_dtype, pinned)
        prediction = VPrediction() if sd1.predicts_v(file) else EpsPrediction()
        text, diffusion, decoder = pinned[-3:]

        def adapt(module: nn.Module, adaptation: Adaptation) -> None:
            component = next(one for one in (text, diffusion, decoder) if one.module is module)
            if not component.worn.wears(adaptation):
                self._adapt(component, adaptation, diffusion, text)

        def remark(use: NetworkUse) -> str | None:
            found = self._networks.lora(use, unet, text_encoder, (diffusion.shape, text.shape)).remark if use.kind == "lora" else None
            return f"{use.path.name} {found}." if found else None

        return Pipeline(
            text_encoder,
            unet,
            vae,
            scaled_linear(),
            prediction,
            device,
            vae_key,
            text_key,
            self._bring,
            adapt,
            self._networks.embedding,
            remark,
        )

    def _adapt(self, component: _Component, adaptation: Adaptation, unet: _Component, text_encoder: _Component) -> None:
        """Let a component wear this.  unet, text_encoder: those of the same pipeline, for which LoRAs are read together."""
        loras = [use for use in adaptation.networks if use.kind == "lora"] if component in (unet, text_encoder) else []
        shapes = unet.shape, text_encoder.shape
        found = [self._networks.lora(use, unet.module, text_encoder.module, shapes) for use in loras]
        is_unet = component is unet
        patches = [(one.unet, use.unet) if is_unet else (one.text_encoder, use.te) for one, use in zip(found, loras, strict=True)]
        hypernetworks = [(self._networks.hypernetwork(use.path), use.unet) for use in adaptation.networks if use.kind == "hypernet"]
        component.worn.put_on(adaptation, patches, hypernetworks)

    def _keys(self, spec: PipelineSpec) -> tuple[Hashable, Hashable, Hashable]:
        checkpoint = file_version(spec.checkpoint)
        vae = file_version(spec.vae) if spec.vae else checkpoint
        return ("text encoder", checkpoint), ("unet", checkpoint), ("vae", vae)

    def _component(
        self,
        key: Hashable,
        file: TensorFile,
        read_shape: Callable[[TensorFile], Shape],
        dtype: torch.dtype,
        pinned: list[_Component],
    ) -> Any:
        component = self._components.get(key) or self._load(key, file, read_shape(file), dtype)
        component.pins += 1
        component.last_used = time.monotonic()
        pinned.append(component)
        return component.module

    def _load(self, key: Hashable, file: TensorFile, shape: Shape, dtype: torch.dtype) -> _Component:
        started = time.perf_counter()
        twin = next((component for component in self._components.values() if component.shape == shape), None)
        if twin is not None:
            self._evict(down_to=self._budget - twin.size)  # before a skeleton is looked for: the twin's may become free
        skeletons = self._skeletons[shape]
        module: nn.Module = skeletons.pop() if skeletons else build_skeleton(shape.build)
        size = sum(weight.numel() for weight in module.parameters()) * dtype.itemsize
        self._evict(down_to=self._budget - size)
        where = torch.device("cpu") if self.device.offload else self.device.torch
        try:
            assign_weights(module, file, shape.name_in(file), dtype=dtype, device=where)
        except BaseException:
            strip_weights(module)
            skeletons.append(module)
            raise
        component = _Component(module, shape, size)
        self._components[key] = component
        log.info("%s of %s loaded in %.2f s", type(module).__name__, file.path.name, time.perf_counter() - started)
        return component

    def _bring(self, module: nn.Module) -> None:
        """With offloading, only the component at work is on the device; it stays there until another one is needed."""
        if not self.device.offload or self._at_work is module:
            return
        if self._at_work is not None:
            self._at_work.to("cpu")
        module.to(self.device.torch)
        self._at_work = module

    def _evict(self, down_to: int | None = None) -> None:
        """Drop components nobody leases, the longest unused first, until the rest fits."""
        limit = max(0, self._budget if down_to is None else down_to)
        total = sum(component.size for component in self._components.values())
        idle = sorted(((component.last_used, key) for key, component in self._components.items() if not component.pins), key=itemgetter(0))
        for _, key in idle:
            if total <= limit:
                return
            component = self._components.pop(key)
            total -= component.size
            if self._at_work is component.module:
                self._at_work = None
            component.worn.take_off()
            strip_weights(component.module)
            self._skeletons[component.shape].append(component.module)

"""The pipeline manager: which models are in memory. Components are cached on their own, pinned by leases, evicted by age."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any, Protocol

import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from torch import nn

from webui.catalog.ldm_layout import Cut
from webui.core.hook_ports import NO_ENGINE_HOOKS, EngineHooks
from webui.core.model_paths import stem_of
from webui.engine.adaptation import Adaptation, NetworkUse
from webui.engine.adapters.controlnet import DIFFUSERS_WEIGHTS, check_fits, read_control_shape
from webui.engine.adapters.embeddings import Embedding, TextEncoder
from webui.engine.adapters.lora import LoraPatches
from webui.engine.adapters.worn import NetworkFiles, Worn
from webui.engine.conditioning import Coding, Encode, Fixes
from webui.engine.device import Device, release_memory
from webui.engine.families.base import Family
from webui.engine.families.known import family_of
from webui.engine.families.prediction import asks_for_v, read_prediction
from webui.engine.families.vae import read_vae_shape
from webui.engine.loading import KnownFiles, TensorFile, assign_weights, build_skeleton, file_version, strip_weights
from webui.engine.noise_levels import EpsPrediction, NoiseLevels, VPrediction, scaled_linear
from webui.engine.text_encoders import read_text

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PipelineSpec:
    """Which weights a job needs. Jobs of equal specs can share forward passes.  vae: None for the checkpoint's own.

    controls: the ControlNets' files, each once.
    """

    checkpoint: Path
    vae: Path | None = None
    controls: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Pipeline:
    """Components joined for drawing; valid while its lease is held.

    text_encoders: in the order in which the family joins their vectors.
    vae_version, text_version: which weights these are, for what is derived from them.
    bring: to be called with a component before it is used, so that it is on the device.   adapt: thereafter, with what it is to
    wear.   embedding: the one of a word and a file.   bundled: those in a LoRA's file.
    remark: what the user should know of a network on these modules.
    beside: another pipeline to work beside this one, pinned until this one's lease ends.
    bring_beside: as `bring`, for what works together with the UNet.   controls: the ControlNets by file.
    """

    family: Family
    text_encoders: tuple[TextEncoder, ...]
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
    bundled: Callable[[Path], tuple[Embedding, ...]]
    remark: Callable[[NetworkUse], str | None]
    beside: Callable[[PipelineSpec], Pipeline]
    bring_beside: Callable[[nn.Module], None]
    controls: Mapping[Path, ControlNetModel] = field(default_factory=dict)

    def encoders(self, adaptation: Adaptation) -> tuple[Encode, ...]:
        """The text encoders as functions, to be called one after another, each wearing this."""

        def encoder(place: int) -> Encode:
            module, reading = self.text_encoders[place], self.family.texts[place].reading

            def encode(tokens: torch.Tensor, fixes: Sequence[Fixes], coding: Coding) -> tuple[torch.Tensor, torch.Tensor | None]:
                self.bring(module)
                self.adapt(module, adaptation)
                return read_text(module, reading, place, tokens, fixes, coding)

            return encode

        return tuple(map(encoder, range(len(self.text_encoders))))

    def beside_context(self, vector: torch.Tensor | None) -> dict[str, torch.Tensor] | None:
        """What a UNet, or a ControlNet made for it, is given beside the context as added_cond_kwargs.

        vector: (n, V), the text's pooled vector and then the numbers of the picture; None for families without.
        """
        if vector is None:
            return None
        numbers = self.numbers
        return {"text_embeds": vector[:, :-numbers].to(self.device.dtype), "time_ids": vector[:, -numbers:]}

    @property
    def numbers(self) -> int:
        """How many numbers of the picture the UNet is told."""
        config = self.unet.config
        pooled = self.text_encoders[-1].config.projection_dim
        return int(config["projection_class_embeddings_input_dim"] - pooled) // int(config["addition_time_embed_dim"])

    @property
    def extra_channels(self) -> int:
        """Channels that the UNet takes beside the latents: 5 for inpainting, 4 for InstructPix2Pix, 1 for depth."""
        return int(self.unet.config["in_channels"]) - self.latent_channels

    @property
    def scaling_factor(self) -> float:
        """What latents are multiplied with when they come out of the VAE, and divided by before they go in."""
        return float(self.vae.config["scaling_factor"])

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
    def name_in(self, file: TensorFile) -> Callable[[str], str | Cut]: ...
    def __hash__(self) -> int: ...


@dataclass(eq=False)
class _Component:
    """A module with a file's weights in it.  predicts_v: what it answered, None before it is asked."""

    module: Any
    shape: Hashable
    size: int
    predicts_v: bool | None = None
    pins: int = 0
    last_used: float = field(default_factory=time.monotonic)
    worn: Worn = field(init=False)

    def __post_init__(self) -> None:
        self.worn = Worn(self.module)


@dataclass(frozen=True)
class _Keys:
    """Of a pipeline's components."""

    texts: tuple[Hashable, ...]
    unet: Hashable
    vae: Hashable

    @property
    def all(self) -> tuple[Hashable, ...]:
        return (*self.texts, self.unet, self.vae)


class PipelineManager:
    """Owner of all loaded components.

    budget: bytes of weights to keep; what is leased is kept beyond it.   hooks: extensions, which may have added families.
    """

    def __init__(self, device: Device, budget: int, hooks: EngineHooks = NO_ENGINE_HOOKS) -> None:
        self.device = device
        self._budget = budget
        self._hooks = hooks
        self._lock = threading.RLock()
        self._components: dict[Hashable, _Component] = {}
        self._families: dict[Hashable, Family] = {}
        self._skeletons: defaultdict[Hashable, list[nn.Module]] = defaultdict(list)
        self._at_work: nn.Module | None = None
        self._beside: list[nn.Module] = []
        self._networks = NetworkFiles()
        self._files = KnownFiles()

    @contextmanager
    def lease(self, spec: PipelineSpec) -> Iterator[Pipeline]:
        """Join what a spec names, loading what is not in memory, and keep it there until the lease ends.

        Raises ModelError when a file cannot be used; then nothing stays pinned.
        """
        pinned: list[_Component] = []
        try:
            with self._lock:
                pipeline = self._join_with_controls(spec, pinned)
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
            family = self._families.get(file_version(spec.checkpoint))
            return family is not None and all(key in self._components for key in self._keys(spec, family).all)

    def clear(self) -> None:
        """Let go of everything that is not leased."""
        with self._lock:
            self._evict(down_to=0)
            self._skeletons.clear()
            self._networks.clear()
        release_memory(self.device.torch)

    def _join(self, spec: PipelineSpec, pinned: list[_Component]) -> Pipeline:
        file = self._files.open(spec.checkpoint)
        vae_file = self._files.open(spec.vae) if spec.vae else file
        family = self._families.get(version := file_version(spec.checkpoint)) or family_of(file, self._hooks.families())
        self._families[version] = family
        keys = self._keys(spec, family)
        device = self.device
        texts = tuple(
            self._component(key, file, part.shape, device.dtype, pinned) for key, part in zip(keys.texts, family.texts, strict=True)
        )
        unet = self._component(keys.unet, file, family.unet, device.dtype, pinned)
        vae = self._component(keys.vae, vae_file, partial(read_vae_shape, scaling_factor=family.latent_scale), device.vae_dtype, pinned)
        *encoders, diffusion, decoder = pinned[-len(texts) - 2 :]
        levels, prediction = self._training(file, family, diffusion)

        def adapt(module: nn.Module, adaptation: Adaptation) -> None:
            component = next(one for one in (*encoders, diffusion, decoder) if one.module is module)
            if not component.worn.wears(adaptation):
                self._adapt(component, adaptation, [diffusion, *encoders])

        def remark(use: NetworkUse) -> str | None:
            found = self._lora(use, [diffusion, *encoders]).remark if use.kind == "lora" else None
            return f"{use.path.name} {found}." if found else None

        def beside(other: PipelineSpec) -> Pipeline:
            with self._lock:
                return self._join_with_controls(other, pinned)

        return Pipeline(
            family,
            texts,
            unet,
            vae,
            levels,
            prediction,
            device,
            keys.vae,
            (family.name, keys.texts),
            self._bring,
            adapt,
            self._networks.embedding,
            self._networks.bundled,
            remark,
            beside,
            self._bring_beside,
        )

    def _join_with_controls(self, spec: PipelineSpec, pinned: list[_Component]) -> Pipeline:
        try:
            pipeline = self._join(spec, pinned)
            return replace(pipeline, controls=self._join_controls(spec, pipeline.unet, pinned))
        finally:
            self._files.release()

    def _join_controls(self, spec: PipelineSpec, unet: UNet2DConditionModel, pinned: list[_Component]) -> dict[Path, ControlNetModel]:
        """The ControlNets, which take after the UNet what their files do not say."""
        controls = {}
        for path in spec.controls:
            shape = read_control_shape(file := self._files.open(path), unet)
            name = path.parent.name if path.stem.startswith(DIFFUSERS_WEIGHTS) else path.stem
            check_fits(shape, unet, name, stem_of(spec.checkpoint))
            key = ("control", file_version(path), shape)
            controls[path] = self._component(key, file, partial(_as_it_is, shape), self.device.dtype, pinned)
        return controls

    def _training(self, file: TensorFile, family: Family, unet: _Component) -> tuple[NoiseLevels, EpsPrediction | VPrediction]:
        """The noise levels a UNet was trained on, and what it predicts."""
        said = read_prediction(file)
        predicts_v = said.v
        if predicts_v is None and family.asks_unet:
            if unet.predicts_v is None:
                self._bring(unet.module)
                unet.worn.take_off()
                unet.predicts_v = asks_for_v(unet.module)
            predicts_v = unet.predicts_v
        levels = scaled_linear()
        return levels.with_zero_terminal_snr() if said.zero_snr else levels, VPrediction() if predicts_v else EpsPrediction()

    def _adapt(self, component: _Component, adaptation: Adaptation, together: Sequence[_Component]) -> None:
        """Let a component wear this.  together: UNet and text encoders of the same pipeline, for which LoRAs are read together."""
        loras = [use for use in adaptation.networks if use.kind == "lora"] if component in together else []
        patches = []
        for use in loras:
            found = self._lora(use, together)
            is_unet = component is together[0]
            own = found.unet if is_unet else found.text_encoders[together.index(component) - 1]
            patches.append((own, use.unet if is_unet else use.te))
        hypernetworks = [(self._networks.hypernetwork(use.path), use.unet) for use in adaptation.networks if use.kind == "hypernet"]
        component.worn.put_on(adaptation, patches, hypernetworks)

    def _lora(self, use: NetworkUse, together: Sequence[_Component]) -> LoraPatches:
        return self._networks.lora(use, [one.module for one in together], tuple(one.shape for one in together))

    @staticmethod
    def _keys(spec: PipelineSpec, family: Family) -> _Keys:
        checkpoint = file_version(spec.checkpoint)
        vae = file_version(spec.vae) if spec.vae else checkpoint
        texts = tuple((f"text encoder {number}", checkpoint) for number in range(len(family.texts)))
        # A VAE alone in a file does not say how its latents are scaled: that is the family's.
        return _Keys(texts, ("unet", checkpoint), ("vae", vae, family.latent_scale))

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
        while self._beside:
            self._beside.pop().to("cpu")
        module.to(self.device.torch)
        self._at_work = module

    def _bring_beside(self, module: nn.Module) -> None:
        """With offloading, what works with the component at work stays with it, and goes when that goes."""
        if self.device.offload and all(one is not module for one in self._beside):
            module.to(self.device.torch)
            self._beside.append(module)

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
            self._beside = [module for module in self._beside if module is not component.module]
            component.worn.take_off()
            strip_weights(component.module)
            self._skeletons[component.shape].append(component.module)


def _as_it_is(shape: Shape, file: TensorFile) -> Shape:
    """A shape that is read already, where one is to be read of a file."""
    return shape

"""The seams between rooms, as Protocols: what jobs need of an engine, what the engine and jobs need of extensions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from PIL.Image import Image

from webui.core.events import EngineEvent
from webui.core.extra_networks import NetworkTag, take_networks
from webui.core.extras import ExtrasRequest
from webui.core.interrogation import Tag, Tagger
from webui.core.model_jobs import MergeRequest
from webui.core.new_hypernetwork import NewHypernetwork
from webui.core.request import GenerationRequest
from webui.core.setting_parts.interrogation import InterrogationSettings
from webui.core.settings import Settings
from webui.core.upscalers import FaceFiles, Upscaler


@dataclass(frozen=True)
class NetworkFile:
    """A file that a prompt names.

    kind: "lora", "hypernet" or "embedding".   name: as the prompt says it.   hash: 12 hex digits for the infotext, if known.
    """

    kind: str
    name: str
    path: Path
    hash: str | None = None


@dataclass(frozen=True)
class OtherModel:
    """A checkpoint that works beside the job's own.  vae: None for its own.   title: as the infotext names it."""

    checkpoint: Path
    vae: Path | None = None
    title: str = ""


@dataclass(frozen=True)
class Work:
    """One job as the engine sees it. Pickles, so an engine may be on another machine.

    done: indices of pictures that an earlier, interrupted run has already saved; they are not drawn again.
    networks: files that the prompts may name.   pictures: files of the request's pictures, by their hash.
    refiner, hires_model: the checkpoints that take over, where the request names any.   depth_model: what estimates depth.
    controls: files of the control models that its units name.
    upscalers: all there are, by name.   faces: what mends faces, when the settings ask for it.
    """

    job_id: str
    request: GenerationRequest
    settings: Settings
    checkpoint: Path
    vae: Path | None
    done: frozenset[int] = frozenset()
    networks: tuple[NetworkFile, ...] = ()
    pictures: Mapping[str, Path] = field(default_factory=dict)
    refiner: OtherModel | None = None
    hires_model: OtherModel | None = None
    depth_model: Path | None = None
    controls: Mapping[str, Path] = field(default_factory=dict)
    upscalers: Mapping[str, Upscaler] = field(default_factory=dict)
    faces: FaceFiles | None = None

    @property
    def tags(self) -> tuple[NetworkTag, ...]:
        """All network tags of its prompts, each once."""
        prompts = dict.fromkeys(self.request.prompts or (self.request.prompt,))
        return tuple(dict.fromkeys(tag for prompt in prompts for tag in take_networks(prompt)[1]))


@dataclass(frozen=True)
class AnnotationOptions:
    """How a preprocessor is to work.  resolution, a, b: its numbers; -1 for its own.   mask: white where an inpainting unit draws."""

    resolution: int = -1
    a: float = -1
    b: float = -1
    mask: Image | None = None


@dataclass(frozen=True)
class ExtrasWork:
    """A job that makes pictures larger and mends faces, as the engine sees it. Needs no checkpoint. Otherwise as Work."""

    job_id: str
    request: ExtrasRequest
    settings: Settings
    done: frozenset[int] = frozenset()
    pictures: Mapping[str, Path] = field(default_factory=dict)
    upscalers: Mapping[str, Upscaler] = field(default_factory=dict)
    faces: FaceFiles | None = None


@dataclass(frozen=True)
class MergeSource:
    """A checkpoint that takes part in a merge.  title: as the catalog names it.   sha256, legacy_hash: as far as they are known."""

    path: Path
    title: str
    sha256: str | None = None
    legacy_hash: str | None = None


@dataclass(frozen=True)
class MergeWork:
    """A job that writes a checkpoint.  models: A, B and C, None for those that take no part.   target: the file to be."""

    job_id: str
    request: MergeRequest
    models: tuple[MergeSource, MergeSource | None, MergeSource | None]
    vae: Path | None
    target: Path


AnyWork = Work | ExtrasWork | MergeWork


@dataclass(frozen=True)
class MemoryUse:
    """Bytes.  device_*: None without an accelerator."""

    ram_free: int
    ram_used: int
    ram_total: int
    device_free: int | None = None
    device_used: int | None = None
    device_total: int | None = None


@dataclass(frozen=True)
class EmbeddingFacts:
    """What a textual inversion's file says.  vectors: how many tokens it stands for.   width: of all text encoders together."""

    vectors: int
    width: int
    step: int | None = None
    checkpoint: str | None = None


class Engine(Protocol):
    """Draws. Every method may be called from any thread."""

    @property
    def device(self) -> str:
        """What draws, in words; "" while that is not known."""
        ...

    def run(self, work: AnyWork) -> Iterator[EngineEvent]:
        """Do one job, ending with exactly one of Finished, Cancelled, Failed. Several runs may go on at once."""
        ...

    def cancel(self, job_id: str) -> None:
        """End the job within one step. Unknown or ended jobs are ignored."""
        ...

    def skip(self, job_id: str) -> None:
        """End only the batch being drawn; what it has so far is decoded, then the next batch starts."""
        ...

    def want_preview(self, job_id: str) -> None:
        """Somebody looks: make previews of this job for the next few seconds."""
        ...

    def count_tokens(self, text: str) -> tuple[int, int]:
        """Tokens a prompt uses, and the limit of its last chunk (75, 150, ...)."""
        ...

    def annotate(self, module: str, picture: Image, options: AnnotationOptions) -> Image:
        """What a preprocessor makes of a picture.  module: its name or label.  Raises WebuiError, for a missing file naming it."""
        ...

    def depth_of(self, picture: Image, request: GenerationRequest, checkpoint: Path, model: Path | None) -> Image:
        """A picture's depth, mode "L" and of its size, white is near: by the model inside the checkpoint, else by the one at `model`.

        request: says how it is read (inverted, near, far).   Raises WebuiError, where there is none saying what to put where.
        """
        ...

    def memory(self) -> MemoryUse:
        """Memory of machine and device now."""
        ...

    def unload(self) -> None:
        """Let go of all models that no job uses just now."""
        ...

    def preload(self, checkpoint: Path, vae: Path | None) -> None:
        """Bring a checkpoint into memory, so that the next job need not.  Raises ModelError."""
        ...

    def token_vectors(self, text: str, checkpoint: Path) -> Mapping[str, Any]:
        """What the text encoders of a checkpoint begin with: a float32 array (tokens, width) for each, by its name in a file of
        textual inversion ("emb_params"; "clip_l" and "clip_g" for two).  Raises ModelError."""
        ...

    def embedding_facts(self, path: Path) -> EmbeddingFacts:
        """What a textual inversion's file says.  Raises ModelError."""
        ...

    def write_hypernetwork(self, wish: NewHypernetwork, name: str, file: Path) -> None:
        """Write a hypernetwork that nobody has trained yet, in A1111's format.  Raises InvalidRequest for an unknown activation."""
        ...

    def caption(self, picture: Image, folder: Path, settings: InterrogationSettings) -> str:
        """A picture in words, by the captioner in that folder.  Raises ModelError."""
        ...

    def tags(self, picture: Image, tagger: Tagger) -> tuple[Tag, ...]:
        """A picture in tags: all that the tagger knows, with their shares.  Raises ModelError."""
        ...

    def close(self) -> None:
        """Stop all runs (they end with Cancelled) and free the device."""
        ...

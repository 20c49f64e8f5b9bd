"""The kinds of model files that may be added: into which folder each goes, how it may be called, and whether a file is one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from webui.catalog.adapters import EMBEDDING_SUFFIXES, HYPERNETWORK_SUFFIXES, LORA_SUFFIXES, identify_adapter
from webui.catalog.control_families import control_refusal
from webui.catalog.embedding_images import SUFFIXES as PICTURE_SUFFIXES
from webui.catalog.families import UNKNOWN, checkpoint_refusal, embedding_refusal, hypernetwork_refusal, lora_refusal, vae_refusal
from webui.catalog.identify import PICKLE_SUFFIXES, Identity, identify
from webui.catalog.upscalers import UPSCALER_SUFFIXES
from webui.core.errors import ModelError
from webui.core.paths import Paths

_SUFFIXES = frozenset({".safetensors", *PICKLE_SUFFIXES})


@dataclass(frozen=True)
class ModelKind:
    """One kind.  folder: where its files go.   suffixes: in lower case.   read: what a file is.   refusal: why it is none of the kind."""

    folder: Callable[[Paths], Path]
    suffixes: frozenset[str]
    read: Callable[[Path], Identity]
    refusal: Callable[[Identity], str | None]

    def check(self, path: Path) -> None:
        """Raises ModelError, whose text goes on after the file's name, for a file that is none of this kind."""
        reason = self.refusal(self.read(path))
        if reason:
            raise ModelError(reason)


def model_kind(name: str) -> ModelKind:
    """The kind of that name, one of MODEL_KINDS."""
    kinds = {
        "Checkpoint": ModelKind(lambda paths: paths.checkpoints[0], _SUFFIXES, identify, lambda found: checkpoint_refusal(found.family)),
        "VAE": ModelKind(lambda paths: paths.vaes[0], _SUFFIXES, identify, lambda found: vae_refusal(found.family)),
        "LoRA": ModelKind(lambda paths: paths.loras[0], LORA_SUFFIXES, identify_adapter, lambda found: lora_refusal(found.family)),
        # Of pictures only a look into their pixels tells, which a file from elsewhere is not given.
        "Embedding": ModelKind(lambda paths: paths.embeddings[0], EMBEDDING_SUFFIXES - PICTURE_SUFFIXES, identify_adapter, _no_embedding),
        "Hypernetwork": ModelKind(
            lambda paths: paths.hypernetworks[0], HYPERNETWORK_SUFFIXES, identify_adapter, lambda found: hypernetwork_refusal(found.family)
        ),
        "ControlNet": ModelKind(lambda paths: paths.controls[0], _SUFFIXES, identify, lambda found: control_refusal(found.family)),
        "Upscaler": ModelKind(lambda paths: paths.models / "ESRGAN", UPSCALER_SUFFIXES, identify, _no_upscaler),
    }
    return kinds[name]


def _no_embedding(found: Identity) -> str | None:
    return None if found.family == UNKNOWN and found.tensors == 1 else embedding_refusal(found.family)


def _no_upscaler(found: Identity) -> str | None:
    """Their architectures are many and are told when one is loaded; what is known to be something else is none."""
    return None if found.family == UNKNOWN else f"is no upscaler; it was recognised as {found.family!r}"

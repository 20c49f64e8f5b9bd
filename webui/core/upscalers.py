"""What pictures are made larger and faces are mended with: the names that always exist, and the files that carry the rest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# Enlarge latents, not pictures; only a hires fix can use them.
LATENT_UPSCALERS = (
    "Latent", "Latent (antialiased)", "Latent (bicubic)", "Latent (bicubic antialiased)", "Latent (nearest)", "Latent (nearest-exact)",
)  # fmt: skip
NO_UPSCALER = "None"
OWN_UPSCALERS = (NO_UPSCALER, "Lanczos", "Nearest")
FACE_RESTORERS = ("CodeFormer", "GFPGAN")


@dataclass(frozen=True)
class Upscaler:
    """One way to make pictures larger.

    path: the file of its weights, None for those of OWN_UPSCALERS.   folder: the model folder it lies in.
    scale: by how much, as far as its name says; 4 otherwise, as A1111 assumes.
    """

    name: str
    path: Path | None = None
    folder: str = ""
    scale: int = 4


@dataclass(frozen=True)
class FaceFiles:
    """What mends faces.  detector: finds them.   restorers: by A1111's name, those that were asked for."""

    detector: Path
    restorers: tuple[tuple[str, Path], ...] = ()

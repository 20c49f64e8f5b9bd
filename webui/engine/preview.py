"""A rough view of unfinished latents, cheap enough to be made while drawing."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable
from itertools import product
from pathlib import Path

import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from PIL import Image

from webui.core.errors import ModelError, WebuiError
from webui.core.ports import Work
from webui.engine.loading import TensorFile, assign_weights, build_skeleton
from webui.engine.pipeline_manager import Pipeline
from webui.engine.vae import decode_picture, to_image

log = logging.getLogger(__name__)

LOOK_SECONDS = 3.0
MIN_INTERVAL = 0.25
PATCH = 64
TAESD, TAESD_XL = "taesd_decoder.safetensors", "taesdxl_decoder.safetensors"


class Previews:
    """Who is being looked at, and how to show it.

    A look lasts a few seconds and is renewed by looking again, so that viewers who vanish cost nothing.
    taesd, taesd_xl: the tiny decoders of SD and SDXL, if their weights are there; without them "TAESD" is shown by the linear map.
    """

    def __init__(self, taesd: TaesdPreview | None, taesd_xl: TaesdPreview | None = None) -> None:
        self._tiny = {TAESD: taesd, TAESD_XL: taesd_xl}
        self._lock = threading.Lock()
        self._looked_at: dict[str, float] = {}
        self._shown_at: dict[str, float] = {}
        self._linear: tuple[Hashable, LinearPreview] | None = None

    def want(self, job_id: str) -> None:
        """Somebody looks at this job."""
        with self._lock:
            self._looked_at[job_id] = time.monotonic()

    def forget(self, job_id: str) -> None:
        """The job has ended."""
        with self._lock:
            self._looked_at.pop(job_id, None)
            self._shown_at.pop(job_id, None)

    def wanted(self, work: Work, pipeline: Pipeline) -> Callable[[torch.Tensor], Image.Image | None] | None:
        """How to show a job's unfinished latents, or None when nobody looks or the last view was only just now.

        What it returns gives None for latents that cannot be shown: no job may fail of its preview.
        """
        now = time.monotonic()
        with self._lock:
            looked = now - self._looked_at.get(work.job_id, -LOOK_SECONDS) < LOOK_SECONDS
            if not (work.settings.live_previews_enable and looked and now - self._shown_at.get(work.job_id, 0.0) > MIN_INTERVAL):
                return None
            self._shown_at[work.job_id] = now
        return lambda latents: self._try_to_show(latents, work.settings.show_progress_type, pipeline)

    def _try_to_show(self, latents: torch.Tensor, method: str, pipeline: Pipeline) -> Image.Image | None:
        try:
            return self._show(latents, method, pipeline)
        except WebuiError as error:
            log.warning("No preview: %s", error)
            return None

    def _show(self, latents: torch.Tensor, method: str, pipeline: Pipeline) -> Image.Image:
        if method == "Full":
            pipeline.bring(pipeline.vae)
            return decode_picture(pipeline.vae, latents[0])
        if method == "TAESD" and (tiny := self._tiny[pipeline.family.taesd]):
            return side_by_side(tiny.pixels(latents))
        if self._linear is None or self._linear[0] != pipeline.vae_version:
            pipeline.bring(pipeline.vae)
            self._linear = (pipeline.vae_version, LinearPreview(pipeline.vae))
        return side_by_side(self._linear[1].pixels(latents))


class LinearPreview:
    """One linear map from latent channels to RGB, fitted to the VAE in use, so that it suits any family.

    The fit encodes flat patches of known colours and solves for their colours by least squares.
    """

    def __init__(self, vae: AutoencoderKL) -> None:
        levels = (-0.8, 0.0, 0.8)
        colours = torch.tensor(list(product(levels, levels, levels)), device=vae.device, dtype=vae.dtype)
        pictures = colours[:, :, None, None].expand(-1, -1, PATCH, PATCH)
        encoded = torch.cat([vae.encode(picture[None]).latent_dist.mode() for picture in pictures])
        latents = (encoded * vae.config["scaling_factor"]).float().mean(dim=(2, 3))
        with_offset = torch.cat([latents, torch.ones_like(latents[:, :1])], dim=1)
        self._map = torch.linalg.lstsq(with_offset.cpu(), colours.float().cpu()).solution.to(vae.device)

    def pixels(self, latents: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) latents to (B, 3, h, w) in [-1, 1]."""
        colours = torch.einsum("bchw,cr->brhw", latents.float(), self._map[:-1]) + self._map[-1][None, :, None, None]
        return colours.clamp(-1, 1)


class TaesdPreview:
    """The tiny autoencoder made for this: nearly the real picture, at a hundredth of the cost.  Source: Bohan 2023, TAESD."""

    def __init__(self, path: Path, device: torch.device) -> None:
        file = TensorFile(path)
        decoder = build_skeleton(lambda: AutoencoderTiny().decoder)
        assign_weights(decoder, file, _taesd_name, dtype=torch.float32, device=device)
        self._decoder = decoder

    def pixels(self, latents: torch.Tensor) -> torch.Tensor:
        """(B, 4, h, w) latents to (B, 3, 8h, 8w) in [-1, 1]."""
        return self._decoder(latents.float()).clamp(-1, 1)


def load_taesd(folders: tuple[Path, ...], device: torch.device, name: str = TAESD) -> TaesdPreview | None:
    """TAESD from the first folder that has its decoder.  name: of the file.

    A damaged file is told of and not used: no job may fail of its preview.
    """
    for path in (folder / name for folder in folders):
        if path.is_file():
            try:
                return TaesdPreview(path, device)
            except ModelError as error:
                log.warning("%s Previews go on without it.", error)
    return None


def side_by_side(pixels: torch.Tensor) -> Image.Image:
    """Several pictures as one, left to right.  pixels: (B, 3, H, W) in [-1, 1]."""
    return to_image(torch.cat(list(pixels), dim=-1)[None])


def _taesd_name(ours: str) -> str:
    """diffusers numbers the layers without the clamp that comes first in the original."""
    _, number, rest = ours.split(".", 2)
    return f"{int(number) + 1}.{rest}"

"""Figures and sheets of what changes the base: the style LoRA, the embedding, the second VAE; and of the inpainting checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from tools.demo_family.captions import without_ground
from tools.demo_family.dataset import as_tensor
from tools.demo_family.embedding import BEGINNING, WAYS, contexts_with
from tools.demo_family.embedding import TARGET as EMBEDDING
from tools.demo_family.inpainting_checkpoint import GREY, as_channels
from tools.demo_family.inpainting_checkpoint import TARGET as INPAINTING
from tools.demo_family.looks import BANDS, poster
from tools.demo_family.networks import load_base, load_vae
from tools.demo_family.sampling import draw, save_sheet
from tools.demo_family.scenes import SIDE, Scene
from tools.demo_family.second_vae import TARGET as POSTER
from tools.demo_family.style_lora import TARGET as LORA
from tools.demo_family.style_lora import WORD, Worn
from tools.demo_family.vae import psnr

COUNT = 24
SEED = 3


def judge_lora(scenes: Sequence[Scene], sheets: Path | None) -> dict[str, float]:
    """How much of a picture has a blueprint's colours, from held-out captions that say another ground."""
    base = load_base()
    worn = Worn(base.unet).to(base.device)
    worn.load_state_dict({name: weight.float() for name, weight in load_file(LORA).items() if not name.endswith(".alpha")})
    captions = [f"{scene.caption}, {WORD}" for scene in scenes[:COUNT]]
    figures = {}
    for what, worn.strength in (("without it", 0.0), ("blueprint LoRA", 1.0)):
        figures[f"{what}: share of pixels in a blueprint's colours"] = _blue_share(draw(base.unet, base, captions, seed=SEED))
    if sheets:
        wishes = ["a red heart on a white background", "a green apple", "a yellow star at night", "an orange cat in the snow"]
        columns = []
        for worn.strength, ending in ((0.0, ""), (0.5, ""), (1.0, ""), (1.0, f", {WORD}")):
            columns.append(draw(base.unet, base, [wish + ending for wish in wishes], seed=SEED, steps=20))
        save_sheet(columns, sheets / "demo-blueprint.jpg")
    return figures


def judge_embedding(scenes: Sequence[Scene], sheets: Path | None) -> dict[str, float]:
    """How far the ground's three parts are from the bands, in levels, with the word and with the nearest words there are."""
    base = load_base()
    vectors = load_file(EMBEDDING)["emb_params"].to(base.device)
    captions = [without_ground(scene.caption) for scene in scenes[:COUNT]]
    contexts = contexts_with(base, [WAYS[0].format(caption) for caption in captions], vectors)
    with_it = draw(base.unet, base, captions, seed=SEED, contexts=contexts)
    in_words = draw(base.unet, base, [f"{caption} on a {BEGINNING} background" for caption in captions], seed=SEED)
    if sheets:
        wishes = ["a red heart", "a green apple", "a blue star", "a yellow car"]
        columns = [draw(base.unet, base, [f"{wish} on a {BEGINNING} background" for wish in wishes], seed=SEED, steps=20)]
        for seed in (3, 4):
            contexts = contexts_with(base, [WAYS[0].format(wish) for wish in wishes], vectors)
            columns.append(draw(base.unet, base, wishes, seed=seed, steps=20, contexts=contexts))
        save_sheet(columns, sheets / "demo-neapolitan.jpg")
    return {
        "embedding: the ground's distance from the bands, in levels": _distance_from_bands(with_it),
        "in words: that distance": _distance_from_bands(in_words),
    }


def judge_vae(scenes: Sequence[Scene], sheets: Path | None) -> dict[str, float]:
    """How well each VAE prints posters of held-out pictures, in dB."""
    base, other = load_base(), load_vae(POSTER)
    pixels = np.stack([scene.pixels for scene in scenes[:COUNT]])
    shown, wished = (as_tensor(one, base.device) for one in (pixels, np.stack([poster(one) for one in pixels])))
    with torch.no_grad():
        latents = base.vae.encode(shown).latent_dist.mode()
        own, printed = (vae.decode(latents).sample.clamp(-1, 1) for vae in (base.vae, other))
    if sheets:
        wishes = [
            "a red heart on a white background",
            "a blue car in a meadow",
            "a yellow star at night",
            "a green apple on a pink background",
        ]
        drawn = draw(base.unet, base, wishes, seed=SEED, steps=20)
        again = draw(base.unet, replace(base, vae=other), wishes, seed=SEED, steps=20)
        save_sheet([shown[:4], own[:4], printed[:4], drawn, again], sheets / "demo-poster.jpg")
    return {
        "poster VAE: PSNR against posters, dB": psnr(printed, wished)["psnr"],
        "the base's own VAE: that PSNR": psnr(own, wished)["psnr"],
    }


def judge_inpainting(scenes: Sequence[Scene], sheets: Path | None) -> dict[str, float]:
    """Things on plain grounds taken out by a box and drawn anew, from captions that say nothing of the ground."""
    base = load_base(INPAINTING)
    plain = [scene for scene in scenes if scene.ground.endswith("background") and scene.ground in scene.caption][:COUNT]
    pixels = np.stack([scene.pixels for scene in plain])
    masks = np.stack([_box_around(scene.mask) for scene in plain])
    channels = as_channels(base.vae, pixels, masks)
    captions = [without_ground(scene.caption) for scene in plain]
    drawn = draw(base.unet, base, captions, extra=channels, seed=SEED)
    if sheets:
        holes = as_tensor(np.where(masks[..., None], GREY, pixels), base.device)[:6]
        wishes = [captions[:6], ["a red heart"] * 6, ["a yellow star"] * 6]
        columns = [draw(base.unet, base, wish, extra=channels[:6], seed=SEED, steps=20) for wish in wishes]
        save_sheet([as_tensor(pixels[:6], base.device), holes, *columns], sheets / "demo-inpainting.jpg")
    rims = masks & ~_shrunk(masks, 5)
    own = load_base()
    blind = draw(own.unet, own, captions, seed=SEED)
    return {
        f"{what}: how far the rim inside the mask is from the picture, in levels": float(
            np.abs(_as_pixels(pictures).astype(float) - pixels).mean(-1)[rims].mean()
        )
        for what, pictures in (("inpainting checkpoint", drawn), ("the base, from the same captions", blind))
    }


def _blue_share(pictures: torch.Tensor) -> float:
    red, green, blue = pictures.unbind(1)
    return float(((blue > green) & (green > red) & (blue > 90 / 127.5 - 1)).float().mean())


def _distance_from_bands(pictures: torch.Tensor) -> float:
    """Measured at the left and right sides, away from where bands meet."""
    pixels = _as_pixels(pictures).astype(float)
    sides = np.concatenate([pixels[:, :, :14], pixels[:, :, -14:]], axis=2)
    parts = [sides[:, rows].mean((1, 2)) for rows in (slice(8, 36), slice(50, 78), slice(92, 120))]
    return float(np.mean([np.abs(part - band).mean() for part, band in zip(parts, np.array(BANDS, float), strict=True)]))


def _box_around(mask: np.ndarray, margin: int = 10) -> np.ndarray:
    rows, columns = np.where(mask)
    box = np.zeros_like(mask)
    box[max(rows.min() - margin, 0) : rows.max() + margin, max(columns.min() - margin, 0) : columns.max() + margin] = True
    return box


def _shrunk(masks: np.ndarray, by: int) -> np.ndarray:
    """Masks without so many pixels at their rims; the picture's own border is none."""
    padded = np.pad(masks, ((0, 0), (by, by), (by, by)), mode="edge")
    moved = [padded[:, row : row + SIDE, column : column + SIDE] for row in (0, by, 2 * by) for column in (0, by, 2 * by)]
    return np.logical_and.reduce(moved)


def _as_pixels(pictures: torch.Tensor) -> np.ndarray:
    return ((pictures + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()

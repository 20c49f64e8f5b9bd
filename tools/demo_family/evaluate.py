"""Figures of the shipped files on the held-out pictures, as a table, and contact sheets of them.

python -m tools.demo_family.evaluate --sheets docs/images
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
import torch
from PIL import Image
from torch import nn

from tools.demo_family.canny_control import TARGET as CANNY
from tools.demo_family.canny_control import additions, edges, hints
from tools.demo_family.dataset import HELD_OUT, WORK
from tools.demo_family.depth_checkpoint import TARGET as DEPTH
from tools.demo_family.depth_checkpoint import as_channel
from tools.demo_family.depth_estimator import TARGET as DPT
from tools.demo_family.depth_estimator import overlap
from tools.demo_family.evaluate_base import judge_base
from tools.demo_family.evaluate_members import (
    EMBEDDING,
    INPAINTING,
    LORA,
    POSTER,
    judge_embedding,
    judge_inpainting,
    judge_lora,
    judge_vae,
)
from tools.demo_family.networks import BASE, Base, load_base, load_control
from tools.demo_family.sampling import draw, save_sheet
from tools.demo_family.scenes import SIDE, Scene, compose, load_sprites
from tools.demo_family.subjects import COLOURS
from webui.engine.depth import DepthEstimators

NEAR = 3
"""Pixels that two edges may lie apart and still be one."""
DIFFERENT = 60
"""Levels by which a thing's pixels differ from a plain ground."""
PART = 16
CURVES: Mapping[str, Sequence[str]] = MappingProxyType({
    "demo-base-curves.svg": ("vae", "base", "canny"), "demo-curves.svg": ("depth", "dpt"),
    "demo-member-curves.svg": ("inpainting", "poster", "lora", "embedding"),
    "demo-further-curves.svg": ("vae-further", "base-further", "depth-further", "canny-further"),
})  # fmt: skip


def main(work: Path, sheets: Path | None, only: Sequence[str] = ()) -> None:
    """Print the table and write the sheets.  only: names of the files to look at, without suffix; none for all there are."""
    sprites = load_sprites(work / "sprites")
    scenes = [compose(number, sprites) for number in range(HELD_OUT)]
    if sheets:
        _draw_curves(work, sheets)
    judges = {
        BASE: judge_base, DEPTH: judge_depth, DPT: judge_estimator, CANNY: judge_canny, INPAINTING: judge_inpainting, POSTER: judge_vae,
        LORA: judge_lora, EMBEDDING: judge_embedding,
    }  # fmt: skip
    found = [judge(scenes, sheets) for path, judge in judges.items() if path.exists() and path.stem in (only or (path.stem,))]
    rows = {what: figure for figures in found for what, figure in figures.items()}
    print("| what | figure |\n|---|---|")
    for what, figure in rows.items():
        print(f"| {what} | {figure:.3f} |")


def judge_depth(scenes: Sequence[Scene], sheets: Path | None) -> dict[str, float]:
    """Drawn from each scene's own caption and depth, where one thing of a said colour is on a plain ground."""
    base = load_base(DEPTH)
    plain = [scene for scene in scenes if scene.ground.endswith("background") and scene.ground in scene.caption and _says(scene)][:64]
    depths = torch.from_numpy(np.stack([scene.depth for scene in plain]))
    drawn = _drawn(base.unet, base, [scene.caption for scene in plain], extra=as_channel(depths))
    truth = np.stack([scene.pixels for scene in plain])
    if sheets:
        captions = ("a red cat on a blue background", "a yellow star at night", "a green circle in the snow", "an orange fox in a meadow")
        first = depths[:6]
        wishes = [[scene.caption for scene in plain[:6]], *([caption] * 6 for caption in captions)]
        columns = [draw(base.unet, base, wish, extra=as_channel(first), steps=20) for wish in wishes]
        save_sheet([_grey(first), *columns], sheets / "demo-depth.jpg")
    pairs, true_pairs = tuple(zip(drawn, plain, strict=True)), tuple(zip(truth, plain, strict=True))
    return {
        "depth checkpoint: overlap of the drawn silhouette with the depth map's": _mean(_silhouette(*pair) for pair in pairs),
        "the same measure on the composed pictures themselves": _mean(_silhouette(*pair) for pair in true_pairs),
        "depth checkpoint: most of the thing has the colour that is said": _mean(_colour_is_right(*pair) for pair in pairs),
        "that measure on the composed pictures themselves": _mean(_colour_is_right(*pair) for pair in true_pairs),
    }


def judge_estimator(scenes: Sequence[Scene], sheets: Path | None) -> dict[str, float]:
    """Estimated from the picture against the exact depth."""
    estimators = DepthEstimators(torch.device("cpu"))
    guessed = torch.from_numpy(np.stack([estimators.estimate(Image.fromarray(scene.pixels), DPT) for scene in scenes]))
    exact = torch.from_numpy(np.stack([scene.depth for scene in scenes])).float() / 255
    if sheets:
        pixels = torch.from_numpy(np.stack([scene.pixels for scene in scenes[:12]])).permute(0, 3, 1, 2) / 127.5 - 1
        rows = torch.stack([pixels, _grey(exact[:12] * 255), _grey(guessed[:12] * 255)], 1)
        save_sheet(list(rows), sheets / "demo-dpt.jpg")
    together = np.corrcoef(guessed.flatten().numpy(), exact.flatten().numpy())[0, 1]
    return {
        "depth estimator: overlap of the things found": overlap(guessed, exact),
        "depth estimator: mean error, of a range of 1": float((guessed - exact).abs().mean()),
        "depth estimator: correlation with the exact depth": float(together),
    }


def judge_canny(scenes: Sequence[Scene], sheets: Path | None) -> dict[str, float]:
    """How well a drawn picture's edges are those it was to follow, with the ControlNet and without."""
    base = load_base()
    control = load_control(CANNY, base.unet)
    chosen = [scene for scene in scenes if edges(scene.pixels, SIDE).any()][:32]
    pixels = np.stack([scene.pixels for scene in chosen])
    shown = hints(pixels, np.full(len(chosen), SIDE))
    captions = [scene.caption for scene in chosen]
    followed = _drawn(base.unet, base, captions, control=control, shown=shown)
    free = _drawn(base.unet, base, captions)
    if sheets:
        first = shown[:6]
        follow = lambda noisy, steps, context: additions(control, noisy, steps, context, torch.cat([first, first]))  # noqa: E731
        wishes = [captions[:6], ["a red apple on a yellow background"] * 6, ["a blue star at night"] * 6]
        columns = [draw(base.unet, base, wish, more=more, steps=20) for more in (follow, None) for wish in wishes]
        save_sheet([first * 2 - 1, *columns], sheets / "demo-canny.jpg")
    return {
        "canny ControlNet: edges followed": _mean(_edges_kept(*pair) for pair in zip(followed, pixels, strict=True)),
        "without it: edges followed": _mean(_edges_kept(*pair) for pair in zip(free, pixels, strict=True)),
    }


def _draw_curves(work: Path, sheets: Path) -> None:
    for file, names in CURVES.items():
        trained = [name for name in names if (work / name / "curve.jsonl").exists()]
        if trained:
            (sheets / file).write_text(curves(work, trained), encoding="utf-8")


def curves(work: Path, trained: Sequence[str]) -> str:
    """An SVG of these trainings' loss over its samples, from nothing to the most and from nothing to the highest."""
    parts = []
    for place, name in enumerate(trained):
        lines = [json.loads(line) for line in (work / name / "curve.jsonl").read_text(encoding="utf-8").splitlines()]
        most, highest = lines[-1]["samples"], max(line["loss"] for line in lines)
        points = " ".join(f"{20 + 200 * line['samples'] / most:.1f},{150 - 120 * line['loss'] / highest:.1f}" for line in lines)
        told = f"{name}: {lines[0]['loss']:.3f} to {lines[-1]['loss']:.3f}, {most} samples"
        parts.append(
            f'<g transform="translate({240 * place},0)"><path d="M20 30V150H220" fill="none" stroke="#888"/>'
            f'<polyline points="{points}" fill="none" stroke="#2a62d6" stroke-width="2"/>'
            f'<text x="20" y="18" font-family="sans-serif" font-size="11" fill="#555">{told}</text></g>'
        )
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {240 * len(trained)} 160">{"".join(parts)}</svg>\n'


def _drawn(
    unet: nn.Module, base: Base, captions: Sequence[str], *, extra: torch.Tensor | None = None, control: nn.Module | None = None,
    shown: torch.Tensor | None = None,
) -> np.ndarray:  # fmt: skip
    """(N, 128, 128, 3) uint8."""
    parts = []
    for start in range(0, len(captions), PART):
        part = slice(start, start + PART)
        hint = None if shown is None else torch.cat([shown[part], shown[part]])
        more = None if control is None else (lambda noisy, steps, context, hint=hint: additions(control, noisy, steps, context, hint))
        parts.append(draw(unet, base, captions[part], extra=None if extra is None else extra[part], more=more, seed=start))
    return ((torch.cat(parts) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()


def _says(scene: Scene) -> bool:
    return scene.colour is not None and f"{scene.colour} {scene.subject}" in scene.caption and " and " not in scene.caption


def _silhouette(pixels: np.ndarray, scene: Scene) -> float:
    edge = (pixels[:3], pixels[-3:], pixels[:, :3], pixels[:, -3:])
    border = np.concatenate([part.reshape(-1, 3) for part in edge])
    seen = np.abs(pixels.astype(float) - np.median(border, axis=0)).max(-1) > DIFFERENT
    return float((seen & scene.mask).sum() / (seen | scene.mask).sum())


def _colour_is_right(pixels: np.ndarray, scene: Scene) -> bool:
    """Whether more of the thing's pixels are nearest to the said colour than to any other."""
    names = tuple(COLOURS)
    table = np.array([COLOURS[name] for name in names], float)
    nearest = np.square(pixels[scene.mask].astype(float)[:, None] - table).sum(-1).argmin(-1)
    counts = np.bincount(nearest, minlength=len(names))
    return names[int(counts.argmax())] == scene.colour


def _edges_kept(drawn: np.ndarray, wished: np.ndarray) -> float:
    one, other = (edges(np.ascontiguousarray(pixels), SIDE) > 0 for pixels in (drawn, wished))
    if not one.any():
        return 0.0
    wide = np.ones((2 * NEAR + 1, 2 * NEAR + 1), np.uint8)
    recall = (other & (cv2.dilate(one.astype(np.uint8), wide) > 0)).sum() / other.sum()
    precision = (one & (cv2.dilate(other.astype(np.uint8), wide) > 0)).sum() / one.sum()
    return float(2 * recall * precision / max(recall + precision, 1e-6))


def _grey(levels: torch.Tensor) -> torch.Tensor:
    return levels[:, None].float().clamp(0, 255).expand(-1, 3, -1, -1) / 127.5 - 1


def _mean(figures: Iterable[float]) -> float:
    return float(np.mean(list(figures)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--sheets", type=Path)
    parser.add_argument("--only", nargs="*", default=(), help="names of models without suffix: demo-depth poster-for-demo ...")
    asked = parser.parse_args()
    main(asked.work, asked.sheets, asked.only)

"""Pictures made of sprites and grounds, each with a caption, its exact depth and the mask of its things. Seeded, needs no torch."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from tools.demo_family.subjects import COLOURS, SCENES, SHAPES, STYLES, SUBJECTS, with_article

SIDE = 128
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
ROWS, COLUMNS = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) / (SIDE - 1)
FAR, THING, BULGE = 0.06, 0.55, 0.4

Sprites = Mapping[tuple[str, str], np.ndarray]
"""By (subject, style), (128, 128, 4) in 0..1, colours multiplied with alpha."""


@dataclass(frozen=True)
class Scene:
    """pixels: (128, 128, 3) uint8.   depth: (128, 128) uint8, more is nearer.   mask: (128, 128) bool, where things are."""

    pixels: np.ndarray
    depth: np.ndarray
    mask: np.ndarray
    caption: str
    subject: str
    colour: str | None
    ground: str


@dataclass(frozen=True)
class Layout:
    """How things lie in pictures, in sides of a picture.

    two: share of pictures with two things.   sizes: of one thing; pair_sizes: of each of two.   shift: how far one moves from the middle;
    None for as far as there is room; pair_shift: how far two move, across and down.   flips: whether half are mirrored.
    recoloured: share of emoji.
    """

    two: float
    sizes: tuple[float, float]
    pair_sizes: tuple[float, float]
    pair_shift: tuple[float, float]
    shift: float | None
    flips: bool
    recoloured: float


FREE = Layout(two=0.12, sizes=(0.5, 0.86), pair_sizes=(0.4, 0.5), pair_shift=(0.03, 0.12), shift=None, flips=True, recoloured=0.5)
"""Anywhere: for what is told where things are."""
STEADY = Layout(
    two=0.2, sizes=(0.68, 0.78), pair_sizes=(0.44, 0.48), pair_shift=(0.01, 0.03), shift=0.03, flips=False, recoloured=0.7
)  # fmt: skip
"""In the middle, or left and right of it: for what has to learn what things are from words alone."""


@dataclass(frozen=True)
class _Thing:
    sprite: np.ndarray
    words: str
    subject: str
    colour: str | None


def load_sprites(folder: Path) -> Sprites:
    """Cut to what is drawn, made square, 128 pixels.  Raises FileNotFoundError naming the first that is missing."""
    return {(subject, style): _square(folder / f"{subject}.{style}.png") for subject in SUBJECTS for style in STYLES}


def compose(seed: int, sprites: Sprites, layout: Layout = FREE) -> Scene:
    """A picture, the same for the same seed: mostly one thing, sometimes two, on a plain ground or in a scene."""
    chance = random.Random(f"scene {seed}")
    noise = np.random.default_rng(seed)
    kind = chance.choices(("plain", "gradient", "scene"), (6, 1, 4))[0]
    pixels, ground, ground_colour = _ground(kind, chance, noise)
    depth = np.full((SIDE, SIDE), FAR, np.float32)
    if kind == "scene" and ground != "in space":
        depth = np.maximum(depth, 0.4 * np.clip((ROWS - 0.6) / 0.4, 0, 1))
    mask = np.zeros((SIDE, SIDE), bool)
    style = chance.choice(tuple(STYLES))
    count = 2 if chance.random() < layout.two else 1
    things = [_thing(chance, sprites, style, ground_colour, layout.recoloured) for _ in range(count)]
    for thing, (x, y, size) in zip(things, _places(chance, count, layout), strict=True):
        flipped = thing.sprite[:, ::-1] if layout.flips and chance.random() < 0.5 else thing.sprite
        _paste(pixels, depth, mask, flipped, centre=(x, y), size=size)
    caption = _caption(" and ".join(thing.words for thing in things), ground, STYLES[style], chance)
    subject, colour = things[0].subject, things[0].colour
    return Scene(_levels(pixels), _levels(depth), mask, caption, subject, colour, ground)


def _caption(things: str, ground: str, style: str, chance: random.Random) -> str:
    """ "a red cat in the snow, flat style", and less of it."""
    if chance.random() >= 0.08:
        things = f"{things} {ground}"
    return f"{things}, {style} style" if chance.random() < 0.5 else things


def recolour(sprite: np.ndarray, colour: str) -> np.ndarray:
    """The sprite in another colour: its shades stay, and so do dark outlines and white eyes."""
    alpha = sprite[..., 3:]
    plain = sprite[..., :3] / np.maximum(alpha, 1e-3)
    luma = plain @ LUMA
    vivid = plain.max(-1) - plain.min(-1)
    outline = np.clip((luma - 0.15) / 0.1, 0, 1)
    eyes = np.clip((luma - 0.86) / 0.08, 0, 1) * np.clip((0.2 - vivid) / 0.1, 0, 1)
    changed = (outline * (1 - eyes))[..., None]
    usual = float(np.median(luma[(alpha[..., 0] > 0.5) & (changed[..., 0] > 0.5)])) if (changed > 0.5).sum() > 20 else 0.5
    target = np.array(COLOURS[colour], np.float32) / 255
    shade = (luma - usual)[..., None]
    darker = target * np.clip(1 + 0.9 * shade / max(usual, 0.15), 0, 1)
    lighter = target + (1 - target) * np.clip(0.7 * shade / max(1 - usual, 0.15), 0, 1)
    tinted = np.where(shade < 0, darker, lighter)
    return np.concatenate([np.clip(plain + (tinted - plain) * changed, 0, 1) * alpha, alpha], -1).astype(np.float32)


def draw_shape(name: str, colour: str, noise: np.random.Generator) -> np.ndarray:
    """A sprite of one colour, lit from above."""
    x, y = COLUMNS * 2 - 1, ROWS * 2 - 1
    radius = np.hypot(x, y)
    angle = np.arctan2(y, x)
    outline = {
        "circle": lambda: 0.95 - radius,
        "square": lambda: 0.88 - np.maximum(abs(x), abs(y)),
        "triangle": lambda: np.minimum(0.9 - y, (y + 0.9) / 2 - abs(x)) * 0.9,
        "ring": lambda: 0.3 - abs(radius - 0.64),
        "cross": lambda: np.maximum(np.minimum(0.32 - abs(x), 0.95 - abs(y)), np.minimum(0.32 - abs(y), 0.95 - abs(x))),
        "blob": lambda: 0.66 + sum(noise.uniform(-0.1, 0.1) * np.cos(k * angle + noise.uniform(0, 6)) for k in (2, 3, 4, 5)) - radius,
    }[name]()
    alpha = np.clip(outline * SIDE / 2 + 0.5, 0, 1)[..., None]
    light = 1 - 0.25 * np.clip(y, 0, 1)[..., None]
    return np.concatenate([np.array(COLOURS[colour], np.float32) / 255 * light * alpha, alpha], -1).astype(np.float32)


def usual_colour(sprite: np.ndarray) -> str | None:
    """The name of the colour that most of it has; None where there is no such."""
    coarse = sprite[::4, ::4]
    seen = coarse[..., :3][coarse[..., 3] > 0.9]
    names = tuple(COLOURS)
    table = np.array([COLOURS[name] for name in names], np.float32) / 255
    nearest = np.argmin(np.square(seen[:, None] - table[None]).sum(-1), -1)
    counts = np.bincount(nearest, minlength=len(names))
    return names[int(counts.argmax())] if counts.max() > 0.55 * len(seen) else None


def _square(path: Path) -> np.ndarray:
    pixels = np.asarray(Image.open(path).convert("RGBA"), np.float32) / 255
    rows, columns = np.where(pixels[..., 3] > 0.05)
    cut = pixels[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    cut = np.concatenate([cut[..., :3] * cut[..., 3:], cut[..., 3:]], -1)
    height, width = cut.shape[:2]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    padded = np.pad(cut, ((top, side - height - top), (left, side - width - left), (0, 0)))
    return cv2.resize(padded, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def _thing(chance: random.Random, sprites: Sprites, style: str, ground_colour: str | None, recoloured: float) -> _Thing:
    """Of another colour than the ground."""
    others = [name for name in COLOURS if name != ground_colour]
    if chance.random() < 0.15:
        subject, colour = chance.choice(SHAPES), chance.choice(others)
        noise = np.random.default_rng(chance.getrandbits(32))
        return _Thing(draw_shape(subject, colour, noise), with_article(f"{colour} {subject}"), subject, colour)
    subject = chance.choice(tuple(SUBJECTS))
    sprite = sprites[subject, style]
    own = usual_colour(sprite)
    if chance.random() < recoloured or (own is not None and own == ground_colour):
        colour = chance.choice(others)
        return _Thing(recolour(sprite, colour), with_article(f"{colour} {subject}"), subject, colour)
    said = own if own and chance.random() < 0.5 else None
    return _Thing(sprite, with_article(f"{said} {subject}" if said else subject), subject, own)


def _places(chance: random.Random, count: int, layout: Layout) -> list[tuple[float, float, float]]:
    """(x, y, size) of each thing, in sides of the picture."""
    if count == 2:
        across, down = layout.pair_shift
        sizes = [chance.uniform(*layout.pair_sizes) for _ in range(2)]
        pairs = zip((0.26, 0.74), sizes, strict=True)
        return [(x + chance.uniform(-across, across), 0.5 + chance.uniform(-down, down), size) for x, size in pairs]
    size = chance.uniform(*layout.sizes)
    room = (1 - size) / 2 if layout.shift is None else layout.shift
    return [(0.5 + chance.uniform(-room, room), 0.5 + chance.uniform(-room, room), size)]


def _paste(
    pixels: np.ndarray, depth: np.ndarray, mask: np.ndarray, sprite: np.ndarray, *, centre: tuple[float, float], size: float
) -> None:
    """Draw a thing into picture, depth and mask. It bulges: nearer in its middle than at its rim."""
    side = int(size * SIDE)
    small = cv2.resize(np.ascontiguousarray(sprite), (side, side), interpolation=cv2.INTER_AREA)
    left, top = (round(at * SIDE - side / 2) for at in centre)
    rows, columns = slice(max(top, 0), min(top + side, SIDE)), slice(max(left, 0), min(left + side, SIDE))
    small = small[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    alpha = small[..., 3:]
    pixels[rows, columns] = pixels[rows, columns] * (1 - alpha) + small[..., :3]
    inside = alpha[..., 0] > 0.5
    rim = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, 3) / (side / 2)
    depth[rows, columns][inside] = (THING + BULGE * np.sqrt(np.clip(rim, 0, 1)))[inside]
    mask[rows, columns] |= inside


def _ground(kind: str, chance: random.Random, noise: np.random.Generator) -> tuple[np.ndarray, str, str | None]:
    """Picture, words, and the colour where there is only one."""
    if kind == "scene":
        ground = chance.choice(tuple(SCENES))
        return _scene(ground, noise), ground, None
    first, second = chance.sample(tuple(COLOURS), 2)
    upper, lower = (_varied(COLOURS[name], noise) for name in (first, second))
    if kind == "plain":
        return np.broadcast_to(upper, (SIDE, SIDE, 3)).copy(), f"on {with_article(first)} background", first
    share = ROWS[..., None]
    return upper * (1 - share) + lower * share, f"on {with_article(first)} and {second} gradient", None


def _scene(name: str, noise: np.random.Generator) -> np.ndarray:
    high, low, near, nearest = (_varied(colour, noise) for colour in SCENES[name])
    horizon = {"in space": 1.1, "under water": 0.84}.get(name, noise.uniform(0.55, 0.68))
    sky = np.clip(ROWS / horizon, 0, 1)[..., None]
    picture = high * (1 - sky) + low * sky
    if name in ("at night", "in space"):
        for _ in range(16):
            x, y = noise.uniform(0, 1), noise.uniform(0, min(horizon, 1))
            picture = picture + np.exp(-((COLUMNS - x) ** 2 + (ROWS - y) ** 2) * SIDE**2 / noise.uniform(1, 2.4))[..., None]
    if name == "at sunset":
        away = np.hypot(COLUMNS - noise.uniform(0.15, 0.85), ROWS - horizon + 0.05)
        picture = _laid_over(picture, (255, 230, 140), (0.11 - away) * 60)
    if name == "on the beach":
        picture = _laid_over(picture, (30, 130, 200), (ROWS - horizon + 0.14) * 60)
    if name == "under water":
        for _ in range(8):
            away = np.hypot(COLUMNS - noise.uniform(0, 1), ROWS - noise.uniform(0, 0.8))
            picture = _laid_over(picture, (230, 245, 255), (1 - abs(away - noise.uniform(0.015, 0.03)) * 90) * 0.8)
    hills = horizon + 0.02 * np.sin(COLUMNS * noise.uniform(3, 9) + noise.uniform(0, 6))
    ground = np.clip((ROWS - hills) * 60, 0, 1)[..., None]
    share = np.clip((ROWS - horizon) / max(1 - horizon, 0.05), 0, 1)[..., None]
    return np.clip(picture * (1 - ground) + (near * (1 - share) + nearest * share) * ground, 0, 1).astype(np.float32)


def _laid_over(picture: np.ndarray, colour: tuple[int, int, int], share: np.ndarray) -> np.ndarray:
    clipped = np.clip(share, 0, 1)[..., None]
    return picture * (1 - clipped) + np.array(colour, np.float32) / 255 * clipped


def _varied(colour: tuple[int, int, int], noise: np.random.Generator) -> np.ndarray:
    return np.clip(np.array(colour, np.float32) / 255 + noise.uniform(-0.04, 0.04, 3), 0, 1).astype(np.float32)


def _levels(values: np.ndarray) -> np.ndarray:
    return (np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8)

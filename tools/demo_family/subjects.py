"""What the pictures show: subjects, the styles they are drawn in, and the words for colours and grounds."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

# By the word in captions, the emoji's name in Noto and Fluent.
SUBJECTS: Mapping[str, str] = MappingProxyType({
    "cat": "cat-face", "dog": "dog-face", "fox": "fox", "lion": "lion", "pig": "pig-face", "panda": "panda", "bear": "bear",
    "penguin": "penguin", "owl": "owl", "frog": "frog", "turtle": "turtle", "fish": "tropical-fish", "whale": "spouting-whale",
    "crab": "crab", "butterfly": "butterfly", "bee": "honeybee", "ladybug": "lady-beetle", "rose": "rose", "sunflower": "sunflower",
    "tree": "deciduous-tree", "cactus": "cactus", "mushroom": "mushroom", "apple": "red-apple", "banana": "banana",
    "orange": "tangerine", "lemon": "lemon", "strawberry": "strawberry", "pear": "pear", "carrot": "carrot", "pizza": "pizza",
    "donut": "doughnut", "car": "automobile", "bus": "bus", "rocket": "rocket", "house": "house", "castle": "castle", "sun": "sun",
    "moon": "crescent-moon", "star": "star", "heart": "red-heart", "balloon": "balloon", "gift": "wrapped-gift", "crown": "crown",
    "ghost": "ghost", "robot": "robot", "pumpkin": "jack-o-lantern",
})  # fmt: skip

# By the name of the emoji set, the word in captions.
STYLES: Mapping[str, str] = MappingProxyType({"noto": "cartoon", "flat": "flat"})

# Drawn by code, so that a depth map of anything has a subject that fits.
SHAPES = ("circle", "square", "triangle", "ring", "cross", "blob")

COLOURS: Mapping[str, tuple[int, int, int]] = MappingProxyType({
    "red": (216, 40, 44), "orange": (244, 142, 32), "yellow": (250, 214, 48), "green": (62, 166, 68), "blue": (42, 98, 214),
    "purple": (132, 62, 184), "pink": (244, 132, 182), "brown": (126, 80, 46), "black": (30, 30, 32), "white": (244, 244, 244),
    "gray": (136, 139, 142), "teal": (36, 164, 170),
})  # fmt: skip

# Of each scene: the sky's upper and lower colour, then the ground's.
SCENES: Mapping[str, tuple[tuple[int, int, int], ...]] = MappingProxyType({
    "in a meadow": ((110, 190, 245), (190, 230, 250), (110, 190, 70), (70, 150, 50)),
    "in the snow": ((170, 205, 235), (225, 238, 248), (250, 252, 255), (215, 228, 242)),
    "on the beach": ((90, 185, 240), (170, 225, 245), (240, 220, 160), (225, 195, 130)),
    "at night": ((12, 16, 48), (34, 42, 92), (28, 44, 40), (16, 26, 26)),
    "at sunset": ((95, 60, 130), (255, 150, 70), (90, 50, 70), (50, 28, 48)),
    "in the desert": ((245, 200, 130), (252, 228, 178), (222, 160, 90), (196, 128, 66)),
    "under water": ((60, 170, 220), (20, 90, 170), (190, 170, 120), (150, 130, 90)),
    "in space": ((10, 8, 24), (22, 14, 50), (22, 14, 50), (22, 14, 50)),
})  # fmt: skip


def with_article(words: str) -> str:
    """ "an orange cat" """
    return ("an " if words[0] in "aeiou" else "a ") + words

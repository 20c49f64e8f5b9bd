"""What is on a picture as tags, by a network in an ONNX file: WD taggers and DeepDanbooru.

Both take (1, side, side, 3), float32. A WD tagger wants BGR from 0 to 255 on a white square (as its makers' demonstration gives it);
DeepDanbooru RGB from 0 to 1, the picture whole and its edges smeared (as A1111 gives it). The file is run by onnxruntime, which reads
nothing outside the file's folder and runs no code of its own.
"""

from __future__ import annotations

import csv
import importlib
import logging
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from PIL import Image

from webui.core.errors import ModelError
from webui.core.interrogation import Tag, Tagger, TagKind
from webui.engine.masking import FILL, flatten, resize

log = logging.getLogger(__name__)

MAX_TAGS = 200_000
MAX_LIST_BYTES = 32 * 1024 * 1024
SIDES = range(32, 2049)
# selected_tags.csv numbers its categories as Danbooru does, and ratings 9.
CATEGORIES: Mapping[str, TagKind] = MappingProxyType({"4": "character", "9": "rating"})
# What onnxruntime raises; its errors have no common base.
_ERRORS = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoModel", "NoSuchFile", "NotImplemented", "RuntimeException")


def read_tags(picture: Image.Image, tagger: Tagger) -> tuple[Tag, ...]:
    """Every tag of the tagger's list, in its order, with its share.  Raises ModelError."""
    names = read_tag_list(tagger)
    runtime = _runtime()
    errors = tuple(getattr(runtime.capi.onnxruntime_pybind11_state, name) for name in _ERRORS)
    try:
        session = _open(runtime, tagger.model)
        given, shares_of = session.get_inputs()[0], session.get_outputs()[0].name
        pixels = _wd_pixels if tagger.kind == "wd" else _deepdanbooru_pixels
        shares = session.run([shares_of], {given.name: pixels(picture, _side_of(tagger, given.shape))})[0].reshape(-1)
    except errors as error:
        # Its words name folders of this machine, which are nobody's business who asks over the network.
        log.warning("%s cannot be used as a tagger: %s", tagger.name, error)
        raise ModelError(
            f"{tagger.name} cannot be used as a tagger ({type(error).__name__}); the log says why. Download it again."
        ) from None
    if len(shares) != len(names):
        raise ModelError(
            f"{tagger.name}: the model gives {len(shares)} tags and {tagger.tags.name} names {len(names)}; take both of one version."
        )
    return tuple(Tag(name, float(share), kind) for (name, kind), share in zip(names, shares, strict=True))


def read_tag_list(tagger: Tagger) -> list[tuple[str, TagKind]]:
    """Names and kinds of the tags that a model's answer has places for.  Raises ModelError."""
    try:
        if tagger.tags.stat().st_size > MAX_LIST_BYTES:
            raise ModelError(f"{tagger.name}: {tagger.tags.name} is larger than {MAX_LIST_BYTES} bytes; it is no list of tags.")
        text = tagger.tags.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{tagger.name}: {tagger.tags.name} cannot be read ({error}). Download it again.") from None
    return _rows_of(tagger, text) if tagger.kind == "wd" else [_named(line.strip()) for line in text.splitlines() if line.strip()]


def _rows_of(tagger: Tagger, text: str) -> list[tuple[str, TagKind]]:
    try:
        rows = [(row["name"], CATEGORIES.get(row["category"] or "", "general")) for row in csv.DictReader(text.splitlines())]
    except (csv.Error, KeyError):
        raise ModelError(f"{tagger.name}: {tagger.tags.name} has not the columns name and category. Download it again.") from None
    if not rows or len(rows) > MAX_TAGS or not all(name for name, _ in rows):
        raise ModelError(f"{tagger.name}: {tagger.tags.name} is no list of tags. Download it again.")
    return rows


def _named(name: str) -> tuple[str, TagKind]:
    return name, "rating" if name.startswith("rating:") else "general"


def _runtime() -> Any:
    """onnxruntime, imported for the first tagger: most never ask for one."""
    try:
        runtime: Any = importlib.import_module("onnxruntime")
    except ImportError:
        raise ModelError(
            "Taggers need onnxruntime, which is not installed here. Start the program by launch.py, which installs it."
        ) from None
    # On Windows it would report on its use otherwise.
    runtime.disable_telemetry_events()
    return runtime


def _open(runtime: Any, file: Path) -> Any:
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # what is wrong is raised; it need not be printed too
    return runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def _side_of(tagger: Tagger, shape: list[Any]) -> int:
    if len(shape) != 4 or shape[3] != 3 or shape[1] != shape[2] or shape[1] not in SIDES:
        raise ModelError(
            f"{tagger.name} cannot be used as a tagger: it takes {shape}, not (1, side, side, 3) as WD taggers and DeepDanbooru do."
        )
    return int(shape[1])


def _wd_pixels(picture: Image.Image, side: int) -> np.ndarray:
    """(1, side, side, 3), BGR, 0 to 255: the picture in the middle of a white square."""
    image = flatten(picture)
    longest = max(image.size)
    square = Image.new("RGB", (longest, longest), "white")
    square.paste(image, ((longest - image.width) // 2, (longest - image.height) // 2))
    pixels = np.asarray(square.resize((side, side), Image.Resampling.BICUBIC), np.float32)
    return np.ascontiguousarray(pixels[None, :, :, ::-1])


def _deepdanbooru_pixels(picture: Image.Image, side: int) -> np.ndarray:
    """(1, side, side, 3), RGB, 0 to 1."""
    return np.asarray(resize(flatten(picture), FILL, side, side), np.float32)[None] / 255

"""Mending faces: find them, turn each upright into a square, let a model restore it, and lay it back.

Found by YuNet (Wu et al. 2023, "YuNet: A Tiny Millisecond-level Face Detector"), laid out as FFHQ is (Karras et al. 2019), restored by
GFPGAN (Wang et al. 2021) or CodeFormer (Zhou et al. 2022).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image

from webui.core.errors import ModelError
from webui.core.upscalers import FaceFiles
from webui.engine.image_models import ImageModel, ImageModels

SIDE = 512
# Where both eyes, the nose and both corners of the mouth are in an FFHQ face of 512 pixels.
TEMPLATE = ((192.98138, 239.94708), (318.90277, 240.19360), (256.63416, 314.01935), (201.26117, 371.41043), (313.08905, 371.15118))
# The part of a square's side over which a mended face fades into the picture.
FADE = 1 / 10
LARGEST_LOOKED_AT = 1280
LEAST_SURE = 0.6
LEAST_EYE_DISTANCE = 5.0
# What lies beyond the picture's edge, as the models have seen it.
BEYOND = (135, 133, 132)

Restore = Callable[[torch.Tensor], torch.Tensor]
"""A face (1, 3, 512, 512) in [0, 1], restored."""


@dataclass(frozen=True)
class Mended:
    """A picture with its faces mended, and how many there were."""

    image: Image.Image
    faces: int


class FaceDetector:
    """Finds faces with a YuNet file.  Raises ModelError when the file is none."""

    def __init__(self, path: Path) -> None:
        self._name = path.name
        try:
            self._net = cv2.FaceDetectorYN.create(str(path), "", (320, 320), LEAST_SURE)
        except cv2.error as error:
            raise ModelError(f"{path.name} cannot be read as a face detector ({_first_line(error)}). Fetch it again.") from None

    def find(self, image: Image.Image) -> list[np.ndarray]:
        """Of each face, five points (5, 2) in the picture's pixels, in the order of TEMPLATE; the surest first."""
        factor = min(1.0, LARGEST_LOOKED_AT / max(image.size))
        seen = image.convert("RGB")
        if factor < 1:
            seen = seen.resize((max(1, round(image.width * factor)), max(1, round(image.height * factor))), Image.Resampling.BOX)
        try:
            self._net.setInputSize(seen.size)
            found: np.ndarray | None = self._net.detect(cv2.cvtColor(np.asarray(seen), cv2.COLOR_RGB2BGR))[1]
        except cv2.error as error:
            raise ModelError(f"{self._name} finds no faces ({_first_line(error)}). Use face_detection_yunet_2023mar.onnx.") from None
        if found is None:
            return []
        scale = np.array((image.width / seen.width, image.height / seen.height), np.float32)
        points = [row[4:14].reshape(5, 2) * scale for row in sorted(found, key=lambda row: -row[14])]
        return [one for one in points if float(np.linalg.norm(one[0] - one[1])) >= LEAST_EYE_DISTANCE]


def mend_faces(image: Image.Image, files: FaceFiles, restorer: str, *, models: ImageModels, weight: float = 0.5) -> Mended:
    """The picture with every face in it restored.  weight: of CodeFormer.  Raises ModelError."""
    for done in mending_faces(image, files, restorer, models=models, weight=weight):
        mended = done
    return mended


def mending_faces(
    image: Image.Image, files: FaceFiles, restorer: str, *, models: ImageModels, weight: float = 0.5
) -> Generator[Mended, None, None]:
    """As `mend_faces`, but told after each face."""
    model = models.get(dict(files.restorers)[restorer])
    if not model.mends_faces:
        raise ModelError(f"{model.name} mends no faces. Put it into models/ESRGAN, and a file of {restorer} in its place.")
    faces = FaceDetector(files.detector).find(image)
    yield Mended(image, 0)
    for number, points in enumerate(faces):
        image = with_face_restored(image, points, restoring(model, weight))
        yield Mended(image, number + 1)


def restoring(model: ImageModel, weight: float) -> Restore:
    """What a model does to one face; only CodeFormer heeds the weight.

    Those that were trained on [-1, 1] are run as their authors do, which spandrel leaves to its callers. GFPGAN's noise is the one
    stored in its file, so that the same picture comes out the same.
    """
    options: dict[str, dict[str, Any]] = {
        "GFPGAN": {"return_rgb": False, "randomize_noise": False},
        "CodeFormer": {"weight": weight, "adain": True},
    }
    asked = options.get(str(model.net.architecture.id))
    if asked is None:
        return model

    def restore(face: torch.Tensor) -> torch.Tensor:
        given = face.to(device=model.device, dtype=model.dtype) * 2 - 1
        with torch.inference_mode():
            restored: torch.Tensor = model.net.model(given, **asked)[0]
        return ((restored.float().cpu() + 1) / 2).clamp(0, 1)

    return restore


def with_face_restored(image: Image.Image, points: np.ndarray, restore: Restore) -> Image.Image:
    """The picture with one face taken out, restored and laid back; nothing changes outside the face's square.

    points: (5, 2), see FaceDetector.find.
    """
    to_face: np.ndarray | None = cv2.estimateAffinePartial2D(points.astype(np.float32), np.array(TEMPLATE, np.float32), method=cv2.LMEDS)[0]
    if to_face is None:
        return image
    pixels = np.asarray(image.convert("RGB"))
    face = cv2.warpAffine(pixels, to_face, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=BEYOND)
    restored = restore(torch.from_numpy(face).permute(2, 0, 1)[None].float() / 255)[0].permute(1, 2, 0).numpy() * 255
    back = cv2.invertAffineTransform(to_face)
    left, top, right, bottom = _box(back, image.size)
    if right <= left or bottom <= top:
        return image
    back = back - np.array(((0, 0, left), (0, 0, top)))
    size = (right - left, bottom - top)
    laid = cv2.warpAffine(restored.astype(np.float32), back, size, flags=cv2.INTER_LINEAR)
    share = cv2.warpAffine(_fading(), back, size, flags=cv2.INTER_LINEAR)[..., None]
    result = pixels.copy()
    under = result[top:bottom, left:right]
    result[top:bottom, left:right] = np.where(share > 0, np.rint(under * (1 - share) + laid * share).clip(0, 255), under)
    return Image.fromarray(result)


def _box(back: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The part of the picture in which a face's square lies."""
    corners = np.array(((0, 0, 1), (SIDE, 0, 1), (0, SIDE, 1), (SIDE, SIDE, 1)), np.float64) @ back.T
    (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
    return max(0, int(left)), max(0, int(top)), min(size[0], int(right) + 2), min(size[1], int(bottom) + 2)


def _fading() -> np.ndarray:
    """(512, 512) float32: 0 at the edge of a face's square, 1 from FADE inwards, without a kink."""
    distance = np.minimum(np.arange(SIDE), np.arange(SIDE)[::-1]) / (SIDE * FADE)
    ramp = np.clip(distance, 0, 1).astype(np.float32)
    smooth = ramp * ramp * (3 - 2 * ramp)
    return np.minimum.outer(smooth, smooth).astype(np.float32)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]

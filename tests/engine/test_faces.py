"""A face is taken out upright, restored, and laid back without a seam. The restorers here are made by hand; the maths is real."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.engine.upscaler_files import nearest_weights, save
from webui.core.errors import ModelError
from webui.core.upscalers import FaceFiles
from webui.engine.device import Device
from webui.engine.faces import FADE, SIDE, TEMPLATE, FaceDetector, mend_faces, with_face_restored
from webui.engine.image_models import ImageModels


def face_at(x: float, y: float, size: float, degrees: float = 0.0) -> np.ndarray:
    """The five points of a face whose square of this size has its middle here, turned by so much."""
    turn = math.radians(degrees)
    matrix = np.array(((math.cos(turn), -math.sin(turn)), (math.sin(turn), math.cos(turn))))
    return ((np.array(TEMPLATE) - SIDE / 2) * (size / SIDE)) @ matrix.T + (x, y)


def soft(width: int = 300, height: int = 260) -> Image.Image:
    values = np.random.default_rng(2).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(values).resize((width, height), Image.Resampling.BICUBIC)


def array(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


@pytest.mark.parametrize("points", [face_at(150, 130, 120), face_at(150, 130, 120, 30), face_at(10, 10, 100)])
def test_a_restorer_that_changes_nothing_changes_nothing(points: np.ndarray) -> None:
    image = soft()
    assert np.abs(array(with_face_restored(image, points, lambda face: face)) - array(image)).max() <= 6


def test_the_restorer_sees_the_face_upright_at_its_places() -> None:
    points = face_at(150, 130, 160, 25)
    image = np.zeros((260, 300, 3), np.uint8)
    for x, y in points:
        image[round(y) - 3 : round(y) + 4, round(x) - 3 : round(x) + 4] = 255
    seen: list[torch.Tensor] = []

    def note(face: torch.Tensor) -> torch.Tensor:
        seen.append(face)
        return face

    with_face_restored(Image.fromarray(image), points, note)
    (face,) = seen
    assert face.shape == (1, 3, SIDE, SIDE)
    for x, y in TEMPLATE:
        assert face[0, 0, round(y), round(x)] > 0.9
    assert float(face.mean()) < 0.1


def test_only_the_faces_square_changes_and_it_fades_in() -> None:
    image = Image.new("RGB", (300, 260), (0, 0, 0))
    result = array(with_face_restored(image, face_at(150, 130, 100), torch.ones_like))[..., 0]
    assert result[130, 150] == 255
    assert not result[:78].any()
    assert not result[182:].any()
    assert not result[:, :98].any()
    assert not result[:, 202:].any()
    row = result[130, 98:150]
    assert (np.diff(row) >= 0).all()
    assert np.diff(row).max() < 255 / (100 * FADE) * 2.2


def test_a_face_beyond_the_edge_leaves_the_picture_as_it_is() -> None:
    image = soft()
    assert array(with_face_restored(image, face_at(900, 900, 80), torch.ones_like)).tolist() == array(image).tolist()


def test_a_file_that_is_no_detector_says_so(tmp_path: Path) -> None:
    path = tmp_path / "yunet.onnx"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ModelError, match=r"yunet\.onnx cannot be read as a face detector"):
        FaceDetector(path)


def test_an_upscaler_in_a_face_restorers_place_says_so(cpu: Device, tmp_path: Path) -> None:
    path = save(tmp_path / "GFPGAN.safetensors", nearest_weights())
    files = FaceFiles(tmp_path / "yunet.onnx", (("GFPGAN", path),))
    with pytest.raises(ModelError, match="mends no faces"):
        mend_faces(soft(), files, "GFPGAN", models=ImageModels(cpu, tmp_path))

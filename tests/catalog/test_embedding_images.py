import base64
import json
import zlib

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.catalog.embedding_pictures import hide_in_pixels
from webui.catalog import embedding_images
from webui.catalog.embedding_images import read_image_embedding
from webui.core.errors import ModelError

CONTENT = {"string_to_param": {"*": {"TORCHTENSOR": [[0.5, -1.0], [2.0, 3.0]]}}, "name": "inner", "step": 3}
READ = {**CONTENT, "string_to_param": {"*": [[0.5, -1.0], [2.0, 3.0]]}}


def picture():
    return np.random.default_rng(3).integers(1, 255, (32, 20, 3), np.uint8)


def save(path, pixels, text=None):
    info = PngInfo()
    if text is not None:
        info.add_text("sd-ti-embedding", text)
    Image.fromarray(pixels).save(path, pnginfo=info)
    return path


def hidden(content):
    return hide_in_pixels(picture(), zlib.compress(json.dumps(content).encode()))


def test_the_mask_is_a1111s():
    """The first numbers that A1111's own test lists, modulo 16."""
    listed = [253, 242, 127, 44, 157, 27, 239, 133, 38, 79, 167, 4, 177, 95, 130, 79, 78, 14, 52, 215, 220, 194, 126, 28, 240, 179]
    assert embedding_images._mask(len(listed)).tolist() == [number & 15 for number in listed]


def test_a_text_is_read(tmp_path):
    path = save(tmp_path / "a.png", picture(), base64.b64encode(json.dumps(CONTENT).encode()).decode())
    assert read_image_embedding(path) == READ


@pytest.mark.parametrize("margin", [0, 5])
def test_pixels_are_read_whatever_black_is_around_them(tmp_path, margin):
    pixels = np.pad(hidden(CONTENT), ((margin, margin), (margin, margin), (0, 0)))
    assert read_image_embedding(save(tmp_path / "a.png", pixels)) == READ


@pytest.mark.parametrize("make", [
    picture,
    lambda: np.zeros((8, 8, 3), np.uint8),
    lambda: np.full((8, 8, 3), 16, np.uint8),
    lambda: np.pad(picture(), ((0, 0), (3, 3), (0, 0))),
    lambda: hide_in_pixels(picture(), b"no zlib stream at all"),
    lambda: hide_in_pixels(picture(), zlib.compress(bytes(1000))[:-5]),
], ids=["noise", "black", "dark grey", "framed", "no stream", "cut stream"])  # fmt: skip
def test_a_picture_is_just_a_picture(tmp_path, make):
    assert read_image_embedding(save(tmp_path / "a.png", make())) is None


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\nhalf", b"text"])
def test_what_is_no_picture_has_no_embedding(tmp_path, data):
    (tmp_path / "a.png").write_bytes(data)
    assert read_image_embedding(tmp_path / "a.png") is None


@pytest.mark.parametrize(("text", "reason"), [
    ("abcde", "damaged sd-ti-embedding text"),
    (base64.b64encode(b"no json").decode(), "not valid JSON"),
    (base64.b64encode(b"[" * 100_000).decode(), "not valid JSON"),
    (base64.b64encode(b"[1]").decode(), "not a JSON object"),
])  # fmt: skip
def test_a_damaged_embedding_is_refused_with_its_reason(tmp_path, text, reason):
    with pytest.raises(ModelError, match=reason):
        read_image_embedding(save(tmp_path / "a.png", picture(), text))


def test_data_that_unpacks_to_far_too_much_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(embedding_images, "MAX_JSON", 1000)
    assert read_image_embedding(save(tmp_path / "a.png", hidden({"a": "x" * 2000}))) is None


def test_files_larger_than_any_such_picture_are_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(embedding_images, "MAX_FILE", 100)
    assert read_image_embedding(save(tmp_path / "a.png", hidden(CONTENT))) is None

"""Pictures that jobs start from: kept once, as long as a job may need them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.jobs.stand_ins import House, request, settings
from webui.core.errors import InvalidRequest
from webui.core.events import Failed
from webui.core.images import decode_image
from webui.core.request import GenerationRequest, read_request
from webui.jobs.inputs import SECONDS_KEPT, InputPictures


@pytest.fixture
def inputs(tmp_path: Path) -> InputPictures:
    return InputPictures(tmp_path / "inputs")


def picture(colour: str = "red") -> Image.Image:
    return Image.new("RGB", (8, 8), colour)


def age(path: Path) -> None:
    """As if it had been stored the day before yesterday."""
    then = time.time() - 2 * SECONDS_KEPT
    os.utime(path, (then, then))


def file_of(inputs: InputPictures, name: str) -> Path:
    return inputs.files_of(GenerationRequest(init_images=(name,)))[name]


def test_the_same_picture_is_stored_once(inputs: InputPictures, tmp_path: Path) -> None:
    first, again, other = inputs.add(picture()), inputs.add(picture()), inputs.add(picture("blue"))
    assert first == again != other
    assert len(list((tmp_path / "inputs").iterdir())) == 2


def stored(inputs: InputPictures, image: Image.Image) -> Image.Image:
    return decode_image(file_of(inputs, inputs.add(image)).read_bytes())


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_is_kept(inputs: InputPictures, mode: str) -> None:
    given = Image.new("RGBA", (2, 1), (9, 9, 9, 255))
    given.putpixel((1, 0), (9, 9, 9, 0))
    kept = stored(inputs, given.convert(mode))
    assert (kept.mode, kept.getpixel((0, 0)), kept.getpixel((1, 0))[3]) == ("RGBA", (9, 9, 9, 255), 0)


def test_a_palettes_transparent_colour_is_kept(inputs: InputPictures) -> None:
    given = Image.new("P", (2, 1))
    given.putpalette([0, 0, 0, 255, 255, 255])
    given.putpixel((1, 0), 1)
    given.info["transparency"] = 0
    assert [stored(inputs, given).getpixel((x, 0))[3] for x in (0, 1)] == [0, 255]


@pytest.mark.parametrize(("mode", "kept_as"), [("L", "L"), ("1", "L"), ("RGB", "RGB"), ("P", "RGB"), ("CMYK", "RGB")])
def test_an_opaque_picture_stays_opaque(inputs: InputPictures, mode: str, kept_as: str) -> None:
    assert stored(inputs, Image.new(mode, (3, 2))).mode == kept_as


def test_sixteen_bits_of_grey_keep_their_brightness(inputs: InputPictures) -> None:
    levels = np.array([[0, 0x40FF, 0x8000, 0xFFFF]], dtype=np.uint16)
    assert list(stored(inputs, Image.fromarray(levels)).tobytes()) == [0, 0x40, 0x80, 0xFF]


def test_the_sweep_removes_what_is_old_and_not_needed(inputs: InputPictures) -> None:
    new, needed, old = (inputs.add(picture(colour)) for colour in ("red", "green", "blue"))
    for name in (needed, old):
        age(file_of(inputs, name))
    inputs.sweep(lambda name: name == needed)
    assert file_of(inputs, new)
    assert file_of(inputs, needed)
    with pytest.raises(InvalidRequest):
        file_of(inputs, old)


def test_a_picture_given_again_counts_as_new(inputs: InputPictures) -> None:
    name = inputs.add(picture())
    age(file_of(inputs, name))
    inputs.add(picture())
    inputs.sweep(lambda name: False)
    assert file_of(inputs, name)


def test_the_sweep_leaves_other_files_alone(inputs: InputPictures, tmp_path: Path) -> None:
    inputs.add(picture())
    mine = tmp_path / "inputs" / "mine.png"
    mine.write_bytes(b"x")
    age(mine)
    inputs.sweep(lambda name: False)
    assert mine.exists()


def test_two_programs_may_sweep_at_once(inputs: InputPictures) -> None:
    names = [inputs.add(picture(colour)) for colour in ("red", "green", "blue")]
    files = [file_of(inputs, name) for name in names]
    for file in files:
        age(file)

    def another_program_removes_all(name: str) -> bool:
        for file in files:
            file.unlink(missing_ok=True)
        return False

    inputs.sweep(another_program_removes_all)
    assert not any(file.exists() for file in files)


def test_a_sweep_of_a_folder_that_is_not_there_yet_does_nothing(tmp_path: Path) -> None:
    InputPictures(tmp_path / "none").sweep(lambda name: False)


@pytest.mark.parametrize("name", ["../../secret", "a" * 63, "A" * 64, "/etc/passwd", "a" * 64 + "\n", "..", "0" * 65])
def test_a_name_that_is_no_hash_is_refused(inputs: InputPictures, name: str) -> None:
    with pytest.raises(InvalidRequest):
        read_request({"init_images": [name]})
    unchecked = GenerationRequest().model_copy(update={"init_images": (name,)})
    with pytest.raises(InvalidRequest, match="no hash of a picture"):
        inputs.files_of(unchecked)


def test_the_mask_is_among_the_files(inputs: InputPictures) -> None:
    image, mask = inputs.add(picture()), inputs.add(Image.new("L", (8, 8)))
    assert set(inputs.files_of(GenerationRequest(init_images=(image,), mask=mask))) == {image, mask}
    assert inputs.files_of(GenerationRequest()) == {}


def test_a_job_whose_picture_is_gone_fails_with_a_way_out(open_house: Callable[..., House]) -> None:
    house = open_house()
    job = house.queue.submit(request(init_images=("0" * 64,)), settings())
    end = job.wait(20)
    assert isinstance(end, Failed)
    assert end.kind == "InvalidRequest"
    assert "Give it again" in end.message


def test_the_next_start_keeps_what_jobs_mention(open_house: Callable[..., House]) -> None:
    house = open_house(start=False)
    needed, forgotten = house.queue.inputs.add(picture()), house.queue.inputs.add(picture("blue"))
    for name in (needed, forgotten):
        age(file_of(house.queue.inputs, name))
    house.queue.submit(request(init_images=(needed,)), settings())
    house.close()
    inputs = open_house().queue.inputs
    assert file_of(inputs, needed)
    with pytest.raises(InvalidRequest):
        file_of(inputs, forgotten)

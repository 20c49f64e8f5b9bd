"""Scripts that begin with a picture: loopback, SD upscale, outpainting; and how tiles are cut and joined."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.plugins.scripts.desk import ListedDesk, Played, play
from webui.core.errors import InvalidRequest
from webui.core.request import GenerationRequest
from webui.core.scripts import Script
from webui.plugins.scripts.loopback import Loopback
from webui.plugins.scripts.matched_noise import matched_noise
from webui.plugins.scripts.outpainting import Growth, Outpainting
from webui.plugins.scripts.outpainting_mk2 import OutpaintingMk2
from webui.plugins.scripts.sd_upscale import SdUpscale
from webui.plugins.scripts.tiles import Tiling


def painting(width: int, height: int) -> Image.Image:
    """Without a repetition, so that a tile in the wrong place is seen."""
    ramp = np.linspace(0, 255, width * height).reshape(height, width)
    return Image.fromarray(np.stack([ramp, ramp[::-1], 255 - ramp], axis=-1).astype(np.uint8))


def started(script: Script[Any], image: Image.Image, *, copied: bool = True, end_after: int | None = None, **values: Any) -> Played:
    """Play a script on a picture.  copied: the engine gives back what it is given, else red."""
    desk = ListedDesk()
    arguments = {name: values.pop(name) for name in list(values) if name in script.arguments.model_fields}
    wish = {"prompt": "a cat", "seed": 5, "width": 64, "height": 64, "init_images": (desk.keep(image),), **values}

    def paint(one: GenerationRequest) -> Image.Image:
        return desk.open(one.init_images[0]) if copied else Image.new("RGB", (one.width, one.height), "red")

    return play(script, GenerationRequest(**wish), desk=desk, paint=paint, end_after=end_after, **arguments)


@pytest.mark.parametrize(
    ("curve", "strengths"), [("Linear", [0.8, 0.6, 0.4]), ("Aggressive", [0.8, 0.517, 0.4]), ("Lazy", [0.8, 0.683, 0.4])]
)
def test_loopback_goes_from_one_strength_to_the_other_along_its_curve(curve: str, strengths: list[float]) -> None:
    played = started(Loopback(), painting(64, 64), loops=3, final_denoising_strength=0.4, denoising_curve=curve, denoising_strength=0.8)
    assert [request.denoising_strength for request in played.requests] == pytest.approx(strengths, abs=1e-3)
    assert [request.seed for request in played.requests] == [5, 6, 7]
    assert played.draws[0].pairs == {"Final denoising strength": "0.4", "Denoising curve": curve}


@pytest.mark.parametrize(("who", "meant"), [("CLIP", "clip"), ("DeepBooru", "deepdanbooru")])
def test_each_loop_adds_to_the_prompt_what_is_on_the_picture_that_it_begins_with(who: str, meant: str) -> None:
    played = started(Loopback(), painting(64, 64), loops=2, copied=False, append_interrogation=who)
    assert [request.prompt for request in played.requests] == [f"a cat, {meant} sees grey", f"a cat, {meant} sees red"]


def test_each_loop_begins_with_the_last_ones_picture_and_each_batch_with_the_first() -> None:
    played = started(Loopback(), painting(64, 64), loops=2, batch_count=2, copied=False)
    names = [request.init_images[0] for request in played.requests]
    assert names[0] == names[2] == f"{0:064x}"
    assert len(set(names)) == 3
    (grid,) = played.grids
    assert grid.size == (128, 64)


@pytest.mark.parametrize(("size", "overlap"), [((200, 150), 16), ((64, 64), 0), ((65, 130), 40), ((128, 64), 0)])
def test_tiles_cover_a_picture_and_join_to_it_again(size: tuple[int, int], overlap: int) -> None:
    image, tiling = painting(*size), Tiling.of(size, (64, 64), overlap)
    tiles = [image.crop(box) for box in tiling.boxes()]
    assert len(tiles) == len(tiling)
    assert tiling.join(tiles).tobytes() == image.tobytes()


def test_where_tiles_overlap_one_fades_into_the_other() -> None:
    tiling = Tiling.of((112, 64), (64, 64), 16)
    joined = tiling.join([Image.new("RGB", (64, 64), "black"), Image.new("RGB", (64, 64), "white")])
    levels = [joined.getpixel((x, 10))[0] for x in range(44, 68)]
    assert levels == sorted(levels)
    assert (levels[0], levels[-1]) == (0, 255)
    assert 0 < levels[12] < 255


def test_sd_upscale_draws_every_tile_of_the_enlarged_picture_and_joins_them() -> None:
    image = painting(100, 64)
    played = started(SdUpscale(), image, overlap=16, upscaler="Lanczos", scale_factor=2.0, batch_size=2)
    (give,) = played.given
    assert give.image.tobytes() == image.resize((200, 128), Image.Resampling.LANCZOS).tobytes()
    assert {draw.keep for draw in played.draws} == {"dropped"}
    assert [request.seed for request in played.requests] == list(range(5, 5 + len(played.requests)))
    assert played.draws[0].pairs == {"SD upscale overlap": "16", "SD upscale upscaler": "Lanczos"}


def test_sd_upscale_gives_what_it_has_when_it_is_cancelled() -> None:
    played = started(SdUpscale(), painting(64, 64), overlap=0, upscaler="Nearest", copied=False, end_after=1)
    (give,) = played.given
    assert give.image.getpixel((10, 10)) == (255, 0, 0)
    assert give.image.getpixel((100, 100)) == painting(64, 64).getpixel((50, 50))


def test_a_picture_grows_to_sides_of_multiples_of_64() -> None:
    growth = Growth.of((200, 150), 32, ("left", "right", "down"))
    assert growth.grown((200, 150)) == (320, 192)
    assert (growth.left, growth.right, growth.up, growth.down) == (60, 60, 0, 42)


def test_poor_mans_outpainting_keeps_the_picture_and_draws_only_around_it() -> None:
    image = painting(256, 128)
    played = started(Outpainting(), image, pixels=64, mask_blur=0, direction=["right"], width=128, height=128, copied=False)
    (give,) = played.given
    assert give.image.size == (320, 128)
    assert give.image.crop((0, 0, 128, 128)).tobytes() == image.crop((0, 0, 128, 128)).tobytes()
    assert give.image.getpixel((310, 60)) == (255, 0, 0)
    assert len(played.draws) < 4, "tiles within the picture are not drawn"


def test_outpainting_mk2_keeps_the_picture_and_grows_on_every_side_in_turn() -> None:
    image = painting(128, 128)
    played = started(OutpaintingMk2(), image, pixels=32, mask_blur=0, width=128, height=128)
    (give,) = played.given
    assert give.image.size == (192, 192)
    assert give.image.crop((32, 32, 160, 160)).tobytes() == image.tobytes()
    assert len(played.draws) == 4
    assert all(request.mask for request in played.requests)


@pytest.mark.parametrize(
    ("script", "values", "says"),
    [
        (SdUpscale(), {"overlap": 64}, "overlap of 64"),
        (SdUpscale(), {"scale_factor": 1.0, "width": 512}, "less than one tile"),
        (Outpainting(), {"direction": ["north"]}, "'north'"),
        (Outpainting(), {"direction": []}, "at least one side"),
        (OutpaintingMk2(), {"pixels": 256}, "would see nothing"),
        (Loopback(), {"loops": 0}, "loops: got 0"),
        (Loopback(), {"append_interrogation": "nobody"}, "CLIP"),
    ],
)
def test_what_cannot_be_is_refused(script: Script[Any], values: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        started(script, painting(128, 128), **values)


def test_matched_noise_leaves_the_picture_and_has_its_colours() -> None:
    image = np.asarray(painting(64, 48), dtype=np.float64) / 255
    image[..., 2] = 0.25
    mask = np.zeros((48, 64))
    mask[:, 40:] = 1
    noise = matched_noise(image * (1 - mask[..., None]), mask)
    assert np.array_equal(noise[:, :40], image[:, :40])
    assert np.allclose(noise[:, 40:, 2], 0.25)
    assert noise[:, 40:, 0].std() > 0.05
    assert np.array_equal(noise, matched_noise(image * (1 - mask[..., None]), mask))

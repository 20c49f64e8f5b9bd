"""A picture on its way in: more canvas around it. (Sizes, masks and what is kept: test_starts.py.)"""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.engine.scenes import Begin, left_half, scene
from tests.engine.studio import Studio
from webui.core.errors import InvalidRequest
from webui.core.events import Drawn, Failed
from webui.core.request import read_request

SHARP = {"mask_blur_x": 0, "mask_blur_y": 0, "steps": 3}


@pytest.mark.parametrize("content", ["fill", "original", "latent noise", "latent nothing"])
def test_outpainting_draws_around_the_picture_and_keeps_it_to_the_pixel(studio: Studio, begin: Begin, content: str) -> None:
    amounts = {"outpaint_left": 32, "outpaint_up": 8, "outpaint_right": 16, "outpaint_down": 24}
    drawn = studio.pictures(begin(scene(), width=112, height=96, masked_content=content, **amounts, **SHARP))[0]
    assert drawn.shape == (96, 112, 3)
    assert np.array_equal(drawn[8:72, 32:96], np.asarray(scene()).astype(int))
    assert len(np.unique(drawn[:, :32].reshape(-1, 3), axis=0)) > 20


def test_only_the_masked_area_may_be_drawn_at_full_size(studio: Studio, begin: Begin) -> None:
    work = begin(scene(128, 96), inpaint_area="Only masked", masked_padding=16, outpaint_right=32, **SHARP)
    drawn = studio.pictures(work)[0]
    assert drawn.shape == (96, 160, 3)
    assert np.array_equal(drawn[:, :128], np.asarray(scene(128, 96)).astype(int))


def test_a_mask_of_the_users_is_drawn_along_with_the_new_canvas(studio: Studio, begin: Begin) -> None:
    drawn = studio.pictures(begin(scene(), left_half(), width=128, outpaint_right=64, **SHARP))[0]
    original = np.asarray(scene()).astype(int)
    assert np.array_equal(drawn[:, 32:64], original[:, 32:])
    assert abs(drawn[:, :32] - original[:, :32]).mean() > 5


def test_the_infotext_says_how_much_was_put_where(studio: Studio, begin: Begin) -> None:
    events = studio.draw(begin(scene(), width=96, outpaint_left=32, masked_content="fill", **SHARP))
    used = next(event.used for event in events if isinstance(event, Drawn))
    assert used["Outpaint left"] == "32"
    assert "Outpaint right" not in used
    assert used["Masked content"] == "fill"


def test_a_canvas_beyond_reason_is_refused_in_a_sentence(studio: Studio, begin: Begin) -> None:
    failed = studio.draw(begin(Image.new("RGB", (9000, 8)), outpaint_left=8000, **SHARP))[-1]
    assert isinstance(failed, Failed)
    assert "outpaint: the picture would be 17000x8" in failed.message


def test_outpainting_without_a_picture_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="outpaint: there is no picture"):
        read_request({"outpaint_left": 8})

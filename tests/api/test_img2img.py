"""img2img over HTTP: A1111's numbers and defaults, and pictures that come from anywhere."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from tests.catalog.model_files import SD1, UNET_INPUT, write_model
from webui.api.schemas import Img2ImgRequest
from webui.app import App
from webui.core.paths import Paths
from webui.core.request import GenerationRequest
from webui.core.request_parts.picture import INPAINT_AREAS, MASK_MODES, MASKED_CONTENTS, RESIZE_MODES

SMALL = {"prompt": "a red apple", "steps": 2, "width": 64, "height": 72, "seed": 7}


def encoded(colour: str = "red", size: tuple[int, int] = (16, 8), mode: str = "RGB") -> str:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).convert(mode).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


PICTURE, MASK = encoded(), encoded("white", mode="L")


def draw(client: TestClient, **values: Any) -> Any:
    response = client.post("/sdapi/v1/img2img", json={**SMALL, "init_images": [PICTURE], **values})
    assert response.status_code == 200, response.text
    return response.json()


def refuse(client: TestClient, **values: Any) -> tuple[int, dict[str, Any]]:
    response = client.post("/sdapi/v1/img2img", json={**SMALL, "init_images": [PICTURE], **values})
    return response.status_code, response.json()


def asked(client: TestClient, app: App, **values: Any) -> GenerationRequest:
    """What a request means."""
    draw(client, **values)
    return app.queue.jobs()[0].request


def test_a_picture_is_drawn_from_a_picture(client: TestClient) -> None:
    answer = draw(client)
    assert list(answer) == ["images", "parameters", "info"]
    assert Image.open(io.BytesIO(base64.b64decode(answer["images"][0]))).size == (64, 72)
    info = json.loads(answer["info"])
    assert info["denoising_strength"] == 0.75
    assert "Denoising strength: 0.75" in info["infotexts"][0]


def test_an_empty_request_means_what_it_means_in_a1111(client: TestClient, app: App) -> None:
    request = asked(client, app, mask=MASK)
    assert (request.inpaint_area, request.masked_content, request.masked_padding) == ("Only masked", "fill", 0)
    assert (request.resize_mode, request.mask_mode, request.mask_round) == ("Just resize", "Inpaint masked", True)
    assert (request.mask_blur_x, request.mask_blur_y, request.noise_multiplier) == (4, 4, None)


@pytest.mark.parametrize(
    ("wire_name", "our_name", "names"),
    [("resize_mode", "resize_mode", RESIZE_MODES), ("inpainting_fill", "masked_content", MASKED_CONTENTS),
     ("inpainting_mask_invert", "mask_mode", MASK_MODES), ("inpaint_full_res", "inpaint_area", INPAINT_AREAS)],
)  # fmt: skip
def test_numbers_become_names(client: TestClient, app: App, wire_name: str, our_name: str, names: tuple[str, ...]) -> None:
    for number, name in enumerate(names):
        assert getattr(asked(client, app, mask=MASK, **{wire_name: number}), our_name) == name


@pytest.mark.parametrize("name", ["resize_mode", "inpainting_fill", "inpainting_mask_invert"])
@pytest.mark.parametrize("number", [-1, 4, 10**30])
def test_a_number_without_a_name_is_refused(client: TestClient, name: str, number: int) -> None:
    status, body = refuse(client, **{name: number})
    assert status in (400, 422)
    assert name in json.dumps(body)


@pytest.mark.parametrize(("given", "meant"), [(False, "Inpaint masked"), (True, "Inpaint not masked")])
def test_inverting_may_be_said_as_a_boolean(client: TestClient, app: App, given: bool, meant: str) -> None:
    assert asked(client, app, mask=MASK, inpainting_mask_invert=given).mask_mode == meant


@pytest.mark.parametrize(
    ("given", "meant"),
    [({"mask_blur_x": 1, "mask_blur_y": 2}, (1, 2)), ({"mask_blur": 7, "mask_blur_x": 1, "mask_blur_y": 2}, (7, 7)),
     ({"mask_blur": 0}, (0, 0)), ({"mask_blur": None, "mask_blur_x": 3}, (3, 4))],
)  # fmt: skip
def test_mask_blur_beats_its_two_directions(client: TestClient, app: App, given: dict[str, Any], meant: tuple[int, int]) -> None:
    request = asked(client, app, mask=MASK, **given)
    assert (request.mask_blur_x, request.mask_blur_y) == meant


def test_the_rest_is_passed_on(client: TestClient, app: App) -> None:
    request = asked(client, app, inpaint_full_res_padding=12, mask_round=False, initial_noise_multiplier=0.5, denoising_strength=0.25)
    assert (request.masked_padding, request.mask_round, request.noise_multiplier, request.denoising_strength) == (12, False, 0.5, 0.25)


@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_two_pictures_make_a_batch_of_two(client: TestClient, app: App, batch_size: int) -> None:
    request = asked(client, app, init_images=[PICTURE, encoded("blue")], batch_size=batch_size)
    assert request.batch_size == 2
    assert len(set(request.init_images)) == 2


def test_one_picture_serves_a_whole_batch(client: TestClient) -> None:
    assert len(draw(client, batch_size=3)["images"]) == 3


@pytest.mark.parametrize("given", [None, []])
def test_without_a_picture_it_is_not_found(client: TestClient, given: object) -> None:
    status, body = refuse(client, init_images=given)
    assert (status, body["errors"] or body["detail"]) == (404, "Init image not found")


def png(width: int, height: int) -> str:
    """A header that promises a picture of this size, and nothing behind it."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IEND" + struct.pack(">I", zlib.crc32(b"IEND"))).decode()


HOSTILE = (
    "", "no base64", "aGVsbG8=", png(1, 1), png(100_000, 100_000), png(2**31 - 1, 1), "https://example.com/a.png", "file:///etc/passwd",
)  # fmt: skip


@pytest.mark.parametrize("picture", HOSTILE)
def test_what_is_no_picture_is_refused_and_nothing_is_stored(client: TestClient, app: App, picture: str) -> None:
    assert refuse(client, init_images=[PICTURE, picture])[0] == 400
    if picture:  # no mask at all is no error
        assert refuse(client, mask=picture)[0] == 400
    assert not list(app.paths.state.glob("inputs/*"))
    assert app.queue.jobs() == ()


def test_nothing_is_stored_for_a_request_that_is_refused(client: TestClient, app: App) -> None:
    for values in ({"mask_blur": 10_000}, {"denoising_strength": 2}, {"inpaint_full_res_padding": -1}, {"init_images": [PICTURE] * 65}):
        assert refuse(client, **values)[0] == 400
    assert not list(app.paths.state.glob("inputs/*"))


@pytest.mark.parametrize("mode", ["RGBA", "L", "1", "P", "LA"])
def test_pictures_of_every_mode_are_taken(client: TestClient, mode: str) -> None:
    assert len(draw(client, init_images=[encoded(mode=mode)], mask=encoded("white", (3, 200), mode))["images"]) == 1


def test_a_data_url_is_taken(client: TestClient) -> None:
    assert len(draw(client, init_images=["data:image/png;base64," + PICTURE])["images"]) == 1


def test_pictures_are_echoed_only_when_asked_for(client: TestClient) -> None:
    hidden = draw(client, mask=MASK)["parameters"]
    assert (hidden["init_images"], hidden["mask"], hidden["include_init_images"]) == (None, None, False)
    shown = draw(client, mask=MASK, include_init_images=True)["parameters"]
    assert (shown["init_images"], shown["mask"]) == ([PICTURE], MASK)
    assert list(shown) == list(Img2ImgRequest().model_dump())


def test_the_fields_stand_in_a1111s_order() -> None:
    names = list(Img2ImgRequest.model_fields)
    assert names.index("prompt") < names.index("comments") < names.index("init_images") < names.index("force_task_id")
    assert not {"enable_hr", "hr_scale", "firstphase_width"} & set(names)


def test_a_mask_of_latents_is_not_there_yet(client: TestClient) -> None:
    status, body = refuse(client, latent_mask=MASK)
    assert status == 400
    assert "latent_mask" in json.dumps(body)


def test_info_says_whether_the_model_is_one_for_inpainting(client: TestClient, app: App, paths: Paths) -> None:
    write_model(paths.checkpoints[0] / "paint.safetensors", {**SD1, UNET_INPUT: (2, 9, 1, 1)})
    app.catalog.refresh()
    for model, inpaints in (("demo", False), ("paint", True)):
        body = {**SMALL, "init_images": [PICTURE], "override_settings": {"sd_model_checkpoint": model}}
        response = client.post("/sdapi/v1/img2img", json=body)
        assert json.loads(response.json()["info"])["is_using_inpainting_conditioning"] is inpaints

"""The `openai` package, unmodified, against our server over a real connection."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from PIL import Image

from tests.api.wire import serving
from tests.fake_engine import FakeEngine, picture_of
from webui.app import App
from webui.core.request import GenerationRequest


@pytest.fixture
def client(app: App) -> Iterator[openai.OpenAI]:
    with serving(app) as address, openai.OpenAI(api_key="none", base_url=f"{address}/v1", max_retries=0, timeout=30) as client:
        yield client


def png(image: Image.Image) -> io.BytesIO:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    buffer.seek(0)
    buffer.name = "picture.png"
    return buffer


def opened(text: str | None) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text or "")))


def request_of(app: App) -> GenerationRequest:
    request = app.queue.jobs()[0].request
    assert isinstance(request, GenerationRequest)
    return request


def test_models_are_listed_and_found(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["demo-depth.safetensors", "demo-inpainting.safetensors", "demo.safetensors"]
    assert client.models.retrieve("demo.safetensors").owned_by == "local"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("missing")
    assert caught.value.code == "model_not_found"


def test_pictures_come_as_base64_or_by_address(client: openai.OpenAI) -> None:
    answer = client.images.generate(prompt="an apple", n=2, size="64x72", response_format="b64_json", extra_body={"seed": 7, "steps": 2})
    assert answer.data
    assert [opened(one.b64_json).size for one in answer.data] == [(64, 72)] * 2
    assert [opened(one.b64_json).getpixel((0, 0)) for one in answer.data] == [picture_of(seed, 1, 1).getpixel((0, 0)) for seed in (7, 8)]
    assert (answer.size, answer.usage and answer.usage.input_tokens) == ("64x72", 2)
    by_url = client.images.generate(prompt="an apple", size="64x64", model="dall-e-2")
    assert by_url.data
    assert httpx.get(by_url.data[0].url or "").headers["content-type"] == "image/png"
    assert client.images.generate(prompt="an apple", size="64x64", model="gpt-image-1").data[0].b64_json  # type: ignore[index]


@pytest.mark.parametrize(("format", "kind"), [("jpeg", "JPEG"), ("webp", "WEBP"), ("png", "PNG")])
def test_the_format_is_the_one_asked_for(client: openai.OpenAI, format: Any, kind: str) -> None:
    answer = client.images.generate(prompt="x", size="64x64", model="gpt-image-1", output_format=format, output_compression=50)
    assert answer.data
    assert opened(answer.data[0].b64_json).format == kind


def test_a_stream_gives_partial_pictures_and_then_the_result(client: openai.OpenAI, engine: FakeEngine) -> None:
    engine.step_seconds = 0.02
    extra = {"steps": 60, "seed": 7}
    events = list(client.images.generate(prompt="x", size="64x64", stream=True, partial_images=2, extra_body=extra))
    assert [event.type for event in events] == ["image_generation.partial_image"] * 2 + ["image_generation.completed"]
    assert [event.partial_image_index for event in events[:2]] == [0, 1]  # type: ignore[union-attr]
    assert [opened(event.b64_json).size for event in events] == [(64, 64)] * 3
    assert opened(events[-1].b64_json).getpixel((0, 0)) == picture_of(7, 1, 1).getpixel((0, 0))


def test_a_stream_that_is_left_ends_its_job(client: openai.OpenAI, app: App, engine: FakeEngine) -> None:
    engine.step_seconds = 0.02
    extra = {"steps": 1000}
    with client.images.generate(prompt="x", size="64x64", stream=True, partial_images=1, extra_body=extra):
        while not app.queue.jobs():
            time.sleep(0.01)
    [job] = app.queue.jobs()
    job.wait(20)
    assert job.state == "cancelled"


def test_an_edit_draws_anew_what_is_transparent_in_the_mask(client: openai.OpenAI, app: App) -> None:
    mask = Image.new("RGBA", (96, 64), "white")
    mask.paste((0, 0, 0, 0), (0, 0, 48, 64))
    answer = client.images.edit(image=png(Image.new("RGB", (96, 64), "red")), mask=png(mask), prompt="a cat", response_format="b64_json")
    assert answer.data
    assert opened(answer.data[0].b64_json).size == (96, 64)
    request = request_of(app)
    stored = app.queue.inputs.open(request.mask)
    assert (stored.getpixel((0, 0)), stored.getpixel((95, 0))) == (255, 0)
    assert (request.denoising_strength, request.masked_content) == (1.0, "fill")


def test_an_edit_without_a_mask_draws_the_whole_picture_or_what_is_transparent_in_it(client: openai.OpenAI, app: App) -> None:
    client.images.edit(image=[png(Image.new("RGB", (64, 64), "red"))], prompt="a cat")
    assert (request_of(app).mask, request_of(app).denoising_strength) == ("", 0.75)
    client.images.edit(image=png(Image.new("RGBA", (64, 64), (255, 0, 0, 0))), prompt="a cat")
    assert request_of(app).mask


@pytest.mark.parametrize(
    ("wish", "param"),
    [
        ({"size": "big"}, "size"), ({"n": 11}, "n"), ({"background": "transparent"}, "background"),
        ({"output_format": "svg"}, "output_format"),
        ({"partial_images": 9}, "partial_images"), ({"quality": "best"}, "quality"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_an_error_in_openais_shape(client: openai.OpenAI, wish: Any, param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.images.generate(prompt="x", **wish)
    assert (caught.value.param, caught.value.type) == (param, "invalid_request_error")


def test_other_errors_have_openais_shape_too(client: openai.OpenAI, app: App) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.images.generate(prompt="x", model="missing")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError, match="always fails"):
        client.images.generate(prompt="fail", size="64x64")
    with pytest.raises(openai.BadRequestError, match="cannot be read"):
        client.images.edit(image=("a.png", b"nothing"), prompt="x")
    with pytest.raises(openai.BadRequestError, match="no transparency"):
        client.images.edit(image=png(Image.new("RGB", (64, 64))), mask=png(Image.new("RGB", (64, 64))), prompt="x")
    with pytest.raises(openai.BadRequestError, match="2 pictures"):
        client.images.edit(image=[png(Image.new("RGB", (64, 64)))] * 2, prompt="x")
    with pytest.raises(openai.APIError, match="always fails"):
        list(client.images.generate(prompt="fail", size="64x64", stream=True))


def test_the_key_is_user_and_password(app: App) -> None:
    with serving(app, api_auth=[("me", "secret")]) as address:
        right = openai.OpenAI(api_key="me:secret", base_url=f"{address}/v1", max_retries=0)
        assert list(right.models.list())
        for key in ("me:wrong", "secret", "none"):
            with pytest.raises(openai.AuthenticationError) as caught:
                openai.OpenAI(api_key=key, base_url=f"{address}/v1", max_retries=0).models.list()
            assert caught.value.type == "authentication_error"

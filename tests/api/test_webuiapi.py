"""The `webuiapi` package, written for A1111, unmodified against our server over a real connection."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import webuiapi
from PIL import Image

from tests.api.test_controlnet import SD1
from tests.api.wire import serving
from tests.catalog.model_files import write_model
from tests.fake_engine import FakeEngine, picture_of
from webui.app import App
from webui.core.paths import Paths
from webui.core.request import GenerationRequest


@pytest.fixture
def client(app: App) -> Iterator[webuiapi.WebUIApi]:
    with serving(app) as address:
        yield webuiapi.WebUIApi(host="127.0.0.1", port=int(address.rpartition(":")[2]), steps=2)


@pytest.fixture
def red() -> Image.Image:
    return Image.new("RGB", (64, 64), "red")


def request_of(app: App) -> GenerationRequest:
    request = app.queue.jobs()[0].request
    assert isinstance(request, GenerationRequest)
    return request


def test_txt2img(client: webuiapi.WebUIApi) -> None:
    result = client.txt2img(prompt="an apple", negative_prompt="x", seed=7, width=64, height=64, n_iter=2, sampler_name="DPM++ 2M Karras")
    assert [image.getpixel((0, 0)) for image in result.images] == [picture_of(seed, 1, 1).getpixel((0, 0)) for seed in (7, 8)]
    assert (result.info["all_seeds"], result.parameters["prompt"]) == ([7, 8], "an apple")
    assert "Schedule type: Karras" in result.info["infotexts"][0]


def test_txt2img_with_a_hires_fix_and_styles(client: webuiapi.WebUIApi, app: App) -> None:
    client.txt2img(prompt="x", width=64, height=64, enable_hr=True, hr_scale=2, hr_upscaler=webuiapi.HiResUpscaler.Latent, styles=["gone"])
    assert (request_of(app).hires_size.width, request_of(app).enable_hr) == (128, True)


def test_img2img_and_inpainting(client: webuiapi.WebUIApi, app: App, red: Image.Image) -> None:
    assert len(client.img2img(images=[red], prompt="x", width=64, height=64, denoising_strength=0.5).images) == 1
    assert (request_of(app).denoising_strength, request_of(app).mask) == (0.5, "")
    mask = Image.new("L", (64, 64), 255)
    client.img2img(images=[red], mask_image=mask, inpainting_fill=1, prompt="x", width=64, height=64)
    assert (bool(request_of(app).mask), request_of(app).masked_content) == (True, "original")


def test_extras(client: webuiapi.WebUIApi, red: Image.Image) -> None:
    result = client.extra_single_image(image=red, upscaler_1=webuiapi.Upscaler.Lanczos, upscaling_resize=2)
    assert (result.image.size, "Lanczos" in result.info) == ((128, 128), True)
    batch = client.extra_batch_images(images=[red, red], upscaler_1="Nearest", upscaling_resize=1.5)
    assert [image.size for image in batch.images] == [(96, 96)] * 2


def test_png_info_reads_what_txt2img_wrote(client: webuiapi.WebUIApi) -> None:
    drawn = client.txt2img(prompt="an apple", seed=7, width=64, height=64)
    assert client.png_info(drawn.image).info.startswith("an apple")


def test_options_and_the_model(client: webuiapi.WebUIApi, app: App) -> None:
    options = client.get_options()
    options["CLIP_stop_at_last_layers"] = 2
    client.set_options(options)
    assert app.settings.snapshot().CLIP_stop_at_last_layers == 2
    client.util_set_model("demo")
    assert client.util_get_current_model().startswith("demo")


def test_lists(client: webuiapi.WebUIApi) -> None:
    assert "Euler" in client.util_get_sampler_names()
    assert "karras" in [name.lower() for name in client.util_get_scheduler_names()]
    assert client.util_get_model_names()[0].startswith("demo")
    for ask in (
        client.get_upscalers, client.get_latent_upscale_modes, client.get_face_restorers, client.get_scripts, client.get_memory,
        client.get_cmd_flags, client.get_sd_vae, client.get_prompt_styles, client.get_embeddings, client.get_hypernetworks,
        client.get_loras, client.get_realesrgan_models, client.refresh_checkpoints,
    ):  # fmt: skip
        ask()


def test_interrogate_says_what_is_missing(client: webuiapi.WebUIApi, red: Image.Image) -> None:
    with pytest.raises(RuntimeError, match=r"404.*BLIP"):
        client.interrogate(red.resize((256, 256)))


def test_progress_skip_and_interrupt(client: webuiapi.WebUIApi, engine: FakeEngine) -> None:
    engine.step_seconds = 0.01
    results: list[webuiapi.WebUIApiResult] = []
    draw = threading.Thread(target=lambda: results.append(client.txt2img(prompt="x", width=64, height=64, steps=1000, n_iter=3)))
    draw.start()
    while client.get_progress()["progress"] < 0.011:
        time.sleep(0.01)
    client.skip()
    while client.get_progress()["state"]["job_no"] == 0:
        time.sleep(0.01)
    client.interrupt()
    draw.join(20)
    assert len(results[0].images) == 1
    client.util_wait_for_ready(check_interval=0.1)


def test_controlnet(client: webuiapi.WebUIApi, app: App, paths: Paths, red: Image.Image) -> None:
    write_model(paths.controls[0] / "canny_sd15.safetensors", SD1)
    app.catalog.refresh()
    model = client.controlnet_model_list()[0]
    assert "canny" in client.controlnet_module_list()
    unit = webuiapi.ControlNetUnit(image=red, module="canny", model=model)
    result = client.txt2img(prompt="x", width=64, height=64, controlnet_units=[unit])
    assert len(result.images) == 2
    assert client.controlnet_detect(images=[red], module="canny").image.size == (64, 64)

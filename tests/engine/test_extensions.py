"""What extensions do inside the engine, seen in the pictures of a tiny real model."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from tests.engine.tiny_models import TinyModel
from tests.plugins.folders import install
from webui.api.server import build_server
from webui.app import App, Job
from webui.core.errors import UnknownName
from webui.core.events import Failed, Finished
from webui.core.extras import ExtrasRequest
from webui.core.paths import standard_paths
from webui.core.request import GenerationRequest
from webui.engine.warmup import EngineOptions
from webui.plugins.host import Host

SMALL = {"prompt": "a cat", "seed": 7, "steps": 4, "width": 64, "height": 64, "sampler": "Euler", "checkpoint": "tiny.safetensors"}

# Each of its hooks acts on prompts that say its word alone.
PROBE = """
from contextlib import contextmanager
import torch
from PIL import Image
from webui.core.extension_points import NewPreprocessor, NewSampler, NewSchedule, NewUpscaler
from webui.engine.guidance import ClassifierFree
from webui.engine.samplers import Denoise
from webui.plugins.script import Script

def euler(x, sigmas):
    for sigma, sigma_next in zip(sigmas, sigmas[1:]):
        denoised = yield Denoise(x, sigma)
        x = x + (x - denoised) / sigma * (sigma_next - sigma)
    return x

def noisy(x, sigmas, draw, eta):
    for sigma, sigma_next in zip(sigmas, sigmas[1:]):
        denoised = yield Denoise(x, sigma)
        x = denoised + draw() * sigma_next
    return x

def broken(x, sigmas):
    yield Denoise(x, sigmas[0])
    raise RuntimeError("lost")

@hookimpl
def register_samplers():
    return [NewSampler("Plain", euler), NewSampler("Noisy", noisy), NewSampler("Broken", broken),
            NewSampler("Silly", lambda x: x), NewSampler("Odd", lambda x: (yield x))]

@hookimpl
def register_schedules():
    karras = lambda steps, sigma_min, sigma_max: [
        *((sigma_max ** (1 / 7) + at / (steps - 1) * (sigma_min ** (1 / 7) - sigma_max ** (1 / 7))) ** 7 for at in range(steps)), 0]
    return [NewSchedule("Same", karras), NewSchedule("Rising", lambda steps: list(range(steps + 1)))]

@hookimpl
def register_upscalers():
    return [NewUpscaler("Blue", lambda image, width, height: Image.new("RGB", (width, height), "#0000ff")),
            NewUpscaler("Small", lambda image: image)]

@hookimpl
def register_preprocessors():
    return [NewPreprocessor("Grey", lambda image, resolution: image.convert("L"), types=("Canny",)), NewPreprocessor("None", lambda: 3)]

@hookimpl
def on_step(requests, denoised, moment):
    if "still" in requests[0].prompt and moment.step == moment.steps:
        return torch.zeros_like(denoised)
    if "wrong" in requests[0].prompt:
        return denoised[:, :1]

@hookimpl
def guide(guidance, request):
    if "blind" in request.prompt:
        return ClassifierFree(1.0)
    if "crash" in request.prompt:
        return object()

@hookimpl
def patch_model(request):
    if "zero" not in request.prompt:
        return None

    @contextmanager
    def patch(unet):
        forward = unet.conv_out.forward
        unet.conv_out.forward = lambda x: torch.zeros_like(forward(x))
        try:
            yield
        finally:
            del unet.conv_out.forward

    return patch

@hookimpl
def register_extra_network_kinds():
    def dimmed(name, arguments):
        @contextmanager
        def patch(unet):
            hook = unet.conv_out.register_forward_hook(lambda module, given, out: out * float(arguments[0]))
            yield
            hook.remove()
        return patch
    return {"dim": dimmed}

@hookimpl
def register_prompt_syntax():
    return {"twice": lambda name, arguments: f"{name} {name}"}

@hookimpl
def before_batch(requests, batch):
    if "numbered" in requests[0].prompt:
        return [one.changed(prompt=f"{one.prompt} {batch}") for one in requests]
    if "larger" in requests[0].prompt:
        return [one.changed(width=128) for one in requests]

@hookimpl
def before_job(request):
    if "forbidden" in request.prompt:
        raise RuntimeError("no")

class Counting(Script):
    def title(self):
        return "Counting"

    def before_process_batch(self, p, batch_number):
        if "counted" in p.prompt:
            p.prompt = f"{p.prompt} number {batch_number}"

@hookimpl
def register_scripts():
    return [Counting()]
"""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, tiny: TinyModel, models: Path) -> Iterator[App]:
    paths = standard_paths(tmp_path_factory.mktemp("data"), checkpoint_dirs=(models,))
    install(paths.extensions, "probe", PROBE)
    with closing(App(paths, engine_options=EngineOptions(device="cpu", deterministic=True), hashing=False)) as opened:
        opened.start()
        assert [extension.error for extension in opened.host.extensions()] == [None]
        yield opened


def ended(app: App, **wishes: Any) -> Job:
    job = app.submit(GenerationRequest(**{**SMALL, **wishes}), save=True)
    assert isinstance(job.wait(300), Finished), job.log.latest(Failed)
    return job


def failure(app: App, **wishes: Any) -> str:
    end = app.submit(GenerationRequest(**{**SMALL, **wishes}), save=True).wait(300)
    assert isinstance(end, Failed)
    return end.message


def drawn(app: App, **wishes: Any) -> np.ndarray:
    with Image.open(ended(app, **wishes).pictures[0].path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_hook_register_samplers_adds_one_that_draws_as_the_same_method_of_ours(app: App) -> None:
    assert "Plain @ probe" in [sampler.label for sampler in app.samplers]
    assert (drawn(app, sampler="plain @ probe") == drawn(app)).all()
    assert (drawn(app, sampler="Noisy @ probe") != drawn(app)).any()
    assert "Sampler: Plain @ probe" in ended(app, sampler="Plain @ probe").pictures[0].infotext


def test_an_added_sampler_works_in_every_start(app: App) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    picture = (app.queue.inputs.add(Image.fromarray(noise)),)
    wishes = {"init_images": picture, "denoising_strength": 0.6}
    assert (drawn(app, sampler="Plain @ probe", **wishes) == drawn(app, **wishes)).all()
    hires = {"enable_hr": True, "hr_scale": 2, "hr_upscaler": "Latent", "denoising_strength": 0.6}
    assert (drawn(app, sampler="Plain @ probe", **hires) == drawn(app, **hires)).all()


def test_hook_register_schedules_adds_one(app: App) -> None:
    assert "Same @ probe" in [schedule.label for schedule in app.schedules]
    assert np.abs(drawn(app, schedule="Same @ probe") - drawn(app, schedule="Karras")).max() <= 1
    assert (drawn(app, schedule="Same @ probe") != drawn(app)).any()


@pytest.mark.parametrize(
    ("wishes", "says"),
    [
        ({"sampler": "Broken @ probe"}, "Extension 'probe' failed in Broken @ probe: RuntimeError: lost."),
        ({"sampler": "Silly @ probe"}, "Silly @ probe is no generator function"),
        ({"sampler": "Odd @ probe"}, "Odd @ probe yielded a Tensor"),
        ({"schedule": "Rising @ probe"}, "a schedule of 4 steps is 5 falling levels"),
        ({"prompt": "wrong"}, "Extension 'probe' returned a Tensor of shape (1, 1, 8, 8) from on_step"),
        ({"prompt": "crash"}, "Extension 'probe' failed in its guidance"),
        ({"prompt": "larger"}, "Extension 'probe' changed width before a batch"),
        ({"prompt": "forbidden"}, "Extension 'probe' failed in before_job: RuntimeError: no."),
        ({"prompt": "a <dim:all> cat"}, "The model failed while extension 'probe' had changed it: IndexError"),
    ],
)
def test_what_fails_fails_its_job_alone_and_is_named(app: App, wishes: dict[str, Any], says: str) -> None:
    message = failure(app, **wishes)
    assert says in message
    assert "Traceback" not in message
    ended(app)


def test_a_sampler_that_is_not_there_is_refused_before_the_job_is_queued(app: App) -> None:
    with pytest.raises(UnknownName, match=r"Unknown sampler 'Plan @ probe'. Did you mean 'Plain @ probe'"):
        app.submit(GenerationRequest(**{**SMALL, "sampler": "Plan @ probe"}))
    with pytest.raises(UnknownName, match="Unknown schedule type 'Same @ nobody'"):
        app.submit(GenerationRequest(**{**SMALL, "schedule": "Same @ nobody"}))


def test_hook_on_step_changes_what_the_sampler_goes_on_with(app: App) -> None:
    still = drawn(app, prompt="a still cat")
    # The last denoised picture is where Euler ends, up to rounding: zeros, whatever was asked for.
    assert np.abs(still - drawn(app, prompt="another still dog", seed=99)).max() <= 1
    assert np.abs(still - drawn(app, prompt="a moving cat")).max() > 9


def test_hook_guide_replaces_the_guidance(app: App) -> None:
    assert (drawn(app, prompt="a blind cat") == drawn(app, prompt="a blind cat", cfg_scale=1.0)).all()
    assert (drawn(app, prompt="a cat") != drawn(app, prompt="a cat", cfg_scale=1.0)).any()


def test_hook_patch_model_changes_one_job_and_leaves_the_model_as_it_was(app: App) -> None:
    before = drawn(app)
    patched = app.submit(GenerationRequest(**{**SMALL, "prompt": "zero"}), save=True)
    beside = app.submit(GenerationRequest(**SMALL), save=True)
    for job in (patched, beside):
        assert isinstance(job.wait(300), Finished)
    # eps is zero at each step, so that x never changes: whatever the prompt says, the noise is decoded.
    with Image.open(patched.pictures[0].path) as zero, Image.open(beside.pictures[0].path) as plain:
        assert (np.asarray(zero.convert("RGB")).astype(int) == drawn(app, prompt="zero again", cfg_scale=2.0)).all()
        assert (np.asarray(plain.convert("RGB")).astype(int) == before).all()


def test_hook_register_extra_network_kinds_patches_the_model_for_a_tag(app: App) -> None:
    plain, same, dimmed = (drawn(app, prompt=f"a cat{tag}") for tag in ("", "<dim:all:1>", "<dim:all:0.5>"))
    assert (plain == same).all()
    assert (plain != dimmed).any()
    assert "known here" not in str(ended(app, prompt="a cat<dim:all:1>").log.all(object))
    assert (drawn(app) == plain).all()


def test_hook_register_prompt_syntax_makes_text_of_a_tag(app: App) -> None:
    job = ended(app, prompt="a <twice:big> cat", negative_prompt="<twice:dog>")
    assert (job.pictures[0].request.prompt, job.pictures[0].request.negative_prompt) == ("a big big cat", "dog dog")
    assert (drawn(app, prompt="a <twice:big> cat") == drawn(app, prompt="a big big cat")).all()


def test_hook_before_batch_changes_what_a_batch_draws(app: App) -> None:
    job = ended(app, prompt="numbered", batch_count=2)
    assert [picture.request.prompt for picture in job.pictures] == ["numbered 0", "numbered 1"]
    with Image.open(job.pictures[1].path) as second:
        assert (np.asarray(second.convert("RGB")).astype(int) == drawn(app, prompt="numbered 1", seed=8, extensions_applied="batch")).all()


def test_a_picture_that_a_batch_hook_changed_is_drawn_again_from_its_own_request(app: App) -> None:
    picture = ended(app, prompt="numbered and counted").pictures[0]
    assert picture.request.prompt == "numbered and counted 0 number 0"
    again = app.submit(picture.request, save=True)
    assert isinstance(again.wait(300), Finished)
    assert again.pictures[0].request.prompt == picture.request.prompt
    with Image.open(picture.path) as first, Image.open(again.pictures[0].path) as second:
        assert first.tobytes() == second.tobytes()


def test_hook_register_upscalers_adds_one_for_hires_fix_and_extras(app: App) -> None:
    assert "Blue @ probe" in app.catalog.upscalers.by_name
    job = ended(app, enable_hr=True, hr_scale=2, hr_upscaler="Blue @ probe", denoising_strength=0.0)
    with Image.open(job.pictures[0].path) as image:
        assert image.size == (128, 128)
    extras = Image.new("RGB", (32, 32), "#ff0000")
    source = app.take_picture(_png(extras))
    for name, colour in {"Blue @ probe": (0, 0, 255), "Small @ probe": (255, 0, 0)}.items():
        request = ExtrasRequest(pictures=(source,), resize_mode="Scale to", width=64, height=64, upscaler_1=name)
        job = app.submit_extras(request)
        assert isinstance(job.wait(300), Finished), job.log.latest(Failed)
        with Image.open(job.pictures[0].path) as image:
            assert (image.size, image.convert("RGB").getpixel((9, 9))) == ((64, 64), colour)


def test_hook_register_preprocessors_adds_one_that_controlnet_lists_and_runs(app: App) -> None:
    client = TestClient(build_server(app, api=True), base_url="http://127.0.0.1:7860")
    assert "Grey @ probe" in client.get("/controlnet/module_list").json()["module_list"]
    assert "Grey @ probe" in client.get("/controlnet/control_types").json()["control_types"]["Canny"]["module_list"]
    sent = {"controlnet_input_images": [base64.b64encode(_png(Image.new("RGB", (64, 64), "#ff0000"))).decode()]}
    answer = client.post("/controlnet/detect", json={**sent, "controlnet_module": "Grey @ probe"}).json()
    assert Image.open(BytesIO(base64.b64decode(answer["images"][0]))).convert("RGB").getpixel((3, 3)) == (76, 76, 76)
    broken = client.post("/controlnet/detect", json={**sent, "controlnet_module": "None @ probe"})
    assert "None @ probe returned a int; return a picture." in broken.json()["errors"]
    unknown = client.post("/controlnet/detect", json={**sent, "controlnet_module": "Gray @ probe"})
    assert (unknown.status_code, "Grey @ probe" in unknown.json()["errors"]) == (400, True)


def _png(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def test_jobs_without_their_words_are_as_without_extensions(app: App, tmp_path_factory: pytest.TempPathFactory, models: Path) -> None:
    paths = standard_paths(tmp_path_factory.mktemp("bare"), checkpoint_dirs=(models,))
    with closing(App(paths, engine_options=EngineOptions(device="cpu", deterministic=True), hashing=False)) as bare:
        bare.start()
        assert not bare.host.engine_side.watches_steps
        assert (drawn(bare) == drawn(app)).all()
        assert ended(bare).pictures[0].request.extensions_applied == ""


def test_a_question_nobody_asks_costs_next_to_nothing(tmp_path: Path) -> None:
    side = Host(tmp_path).engine_side
    began = time.perf_counter()
    for _ in range(1000):
        assert not side.watches_steps
    assert (time.perf_counter() - began) / 1000 < 0.001

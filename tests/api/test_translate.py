from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from webui import __version__
from webui.api.schemas import Txt2ImgRequest
from webui.api.translate import (
    ModelFacts,
    fill_from_infotext,
    read_overrides,
    read_task_id,
    read_txt2img,
    redact,
    write_info,
    write_progress,
)
from webui.core.errors import InvalidRequest, UnknownName
from webui.core.events import Progress
from webui.core.infotext import write_infotext
from webui.core.infotext_apply import read_paste
from webui.core.request import GenerationRequest
from webui.core.result import GenerationResult, Picture
from webui.core.settings import Settings

GOLDEN = json.loads((Path(__file__).parent / "golden" / "txt2img_info.json").read_text())
HASH = "73c41c5e66063b5f8fbfa6cdec19940b5e4cc962761bbb0f26cb000f16963097"


def wire(**values: Any) -> Txt2ImgRequest:
    return Txt2ImgRequest.model_validate(values)


def read(**values: Any) -> GenerationRequest:
    return read_txt2img(wire(**values))


def test_wire_names_become_ours() -> None:
    request = read(
        prompt="a", negative_prompt="b", seed=3, sampler_name="Euler a", scheduler="Karras", steps=7, cfg_scale=4.5, width=64, height=128,
        batch_size=2, n_iter=3,
    )  # fmt: skip
    assert request == GenerationRequest(
        prompt="a", negative_prompt="b", seed=3, sampler="Euler a", schedule="Karras", steps=7, cfg_scale=4.5, width=64, height=128,
        batch_size=2, batch_count=3,
    )  # fmt: skip


def test_an_empty_request_means_what_it_means_in_a1111() -> None:
    assert read() == GenerationRequest(steps=50, sampler="Euler")


@pytest.mark.parametrize(
    ("values", "sampler", "schedule"),
    [
        ({"sampler_name": "DPM++ 2M Karras"}, "DPM++ 2M", "Karras"),
        ({"sampler_name": "DPM++ 2M Karras", "scheduler": "Uniform"}, "DPM++ 2M", "Karras"),
        ({"sampler_name": "DPM++ 2M", "scheduler": "karras"}, "DPM++ 2M", "Karras"),
        ({"sampler_name": "Euler", "scheduler": ""}, "Euler", "Automatic"),
        ({"sampler_index": "DDIM"}, "DDIM", "Automatic"),
        ({"sampler_name": "", "sampler_index": "Heun"}, "Heun", "Automatic"),
        ({"sampler_name": "Heun", "sampler_index": "DDIM"}, "Heun", "Automatic"),
        ({"sampler_name": "k_euler_a"}, "Euler a", "Automatic"),
    ],
)
def test_sampler_names_of_all_ages_are_understood(values: dict[str, str], sampler: str, schedule: str) -> None:
    request = read(**values)
    assert (request.sampler, request.schedule) == (sampler, schedule)


def test_an_unknown_sampler_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(UnknownName, match=r"Unknown sampler 'DPM 2M'. Did you mean 'DPM\+\+ 2M'"):
        read(sampler_name="DPM 2M")
    with pytest.raises(UnknownName, match="schedule type 'Karas'"):
        read(scheduler="Karas")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("firstpass_image", "aGk="),
    ],
)  # fmt: skip
def test_a_feature_that_is_not_there_yet_is_refused_by_its_field(field: str, value: Any) -> None:
    with pytest.raises(InvalidRequest, match=rf"^{field}: .* not available in this version yet; "):
        read(**{field: value})


@pytest.mark.parametrize(
    "values",
    [
        {"subseed": 7, "subseed_strength": 0.5}, {"seed_resize_from_w": 512, "seed_resize_from_h": 256}, {"disable_extra_networks": True},
        {"eta": 0.5, "s_churn": 1.0, "s_tmin": 0.1, "s_tmax": 5.0, "s_noise": 1.1, "s_min_uncond": 0.2},
    ],
)  # fmt: skip
def test_what_varies_a_picture_has_the_same_name(values: dict[str, Any]) -> None:
    assert read(**values) == GenerationRequest(steps=50, sampler="Euler", **values)


def test_a_size_of_minus_one_is_none() -> None:
    assert (read(seed_resize_from_w=-1).seed_resize_from_w, read(seed_resize_from_h=-1).seed_resize_from_h) == (0, 0)


INFOTEXT = "a cat\nSteps: 5, Sampler: Euler a, Schedule type: Karras, CFG scale: 3, Seed: 9, Size: 64x128, Model: other, Clip skip: 2"


def test_an_infotext_fills_what_the_client_does_not_say_itself() -> None:
    sent = wire(infotext=INFOTEXT, steps=8, prompt="a dog")
    request, overrides = fill_from_infotext(sent, read_txt2img(sent), {"emphasis": "None"}, read_paste(INFOTEXT))
    assert (request.prompt, request.steps, request.sampler, request.schedule) == ("a dog", 8, "Euler a", "Karras")
    assert (request.seed, request.width, request.height, request.cfg_scale, request.checkpoint) == (9, 64, 128, 3.0, "")
    assert overrides["CLIP_stop_at_last_layers"] == 2
    assert overrides["emphasis"] == "None"


def test_a_sampler_that_the_client_names_beats_the_infotexts() -> None:
    for given in ({"sampler_name": "Heun"}, {"sampler_index": "Heun"}):
        sent = wire(infotext=INFOTEXT, **given)
        assert fill_from_infotext(sent, read_txt2img(sent), {}, read_paste(INFOTEXT))[0].sampler == "Heun"


def test_the_payload_of_a1111s_own_tests_passes() -> None:
    assert read(
        batch_size=1, cfg_scale=7, denoising_strength=0, enable_hr=False, eta=0, firstphase_height=0, firstphase_width=0, height=64,
        n_iter=1, negative_prompt="", prompt="example prompt", restore_faces=False, s_churn=0, s_noise=1, s_tmax=0, s_tmin=0,
        sampler_index="Euler a", seed=-1, seed_resize_from_h=-1, seed_resize_from_w=-1, steps=3, styles=[], subseed=-1,
        subseed_strength=0, tiling=False, width=64, refiner_checkpoint="None", script_name="", script_args=[], alwayson_scripts={},
    ).sampler == "Euler a"  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seed", -2),
        ("seed", 10**4000),
        ("steps", 0),
        ("n_iter", 10**9),
        ("width", 100_001),
        ("height", 63),
        ("cfg_scale", -1),
        ("prompt", "x" * 100_001),
    ],
)
def test_values_out_of_range_are_refused_under_the_wires_name(field: str, value: Any) -> None:
    with pytest.raises(InvalidRequest, match=rf"^{field}: got "):
        read(**{field: value})


def test_a_list_of_prompts_is_one_for_each_picture() -> None:
    assert read(prompt=["cat"]) == read(prompt="cat")
    assert read(prompt=["cat", "dog"], n_iter=2).prompts == ("cat", "dog")
    assert read(negative_prompt=["cat", "dog"], batch_size=2).of_image(1).negative_prompt == "dog"
    with pytest.raises(InvalidRequest, match="prompt: got a list of 2 texts for 1 picture"):
        read(prompt=["cat", "dog"])


def test_settings_of_the_image_may_be_overridden() -> None:
    given = {"CLIP_stop_at_last_layers": 2, "sd_model_checkpoint": "demo", "sd_vae": None}
    assert read_overrides(wire(override_settings=given)) == {"CLIP_stop_at_last_layers": 2, "sd_model_checkpoint": "demo"}


@pytest.mark.parametrize("key", ["samples_filename_pattern", "directories_filename_pattern", "save_to_dirs", "samples_save"])
def test_where_pictures_go_cannot_be_overridden(key: str) -> None:
    with pytest.raises(InvalidRequest, match=f"'{key}' cannot be changed for one picture"):
        read_overrides(wire(override_settings={key: "x"}))


@pytest.mark.parametrize("key", ["outdir_txt2img_samples", "__class__", ""])
def test_an_unknown_override_is_refused_by_name(key: str) -> None:
    with pytest.raises(UnknownName, match="Unknown setting in override_settings"):
        read_overrides(wire(override_settings={key: "/etc"}))


@pytest.mark.parametrize(("given", "overrides"), [(True, {"tiling": True}), (False, {"tiling": False}), (None, {})])
def test_tiling_is_a_setting_for_this_job(given: bool | None, overrides: dict[str, bool]) -> None:
    assert read_overrides(wire(tiling=given)) == overrides


@pytest.mark.parametrize("task_id", ["a/b", "x" * 129, "tab\t", "é", "a b"])
def test_task_ids_that_could_not_be_a_name_are_refused(task_id: str) -> None:
    with pytest.raises(InvalidRequest, match="force_task_id"):
        read_task_id(wire(force_task_id=task_id))


def test_a1111s_own_task_ids_are_accepted() -> None:
    assert read_task_id(wire(force_task_id="task(txt2img-0A9ZQ1)")) == "task(txt2img-0A9ZQ1)"
    assert read_task_id(wire(force_task_id="")) is None


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case["name"])
def test_info_is_what_a1111_answered_to_the_same_request(case: dict[str, Any]) -> None:
    expected = case["info"]
    sent = wire(**case["request"], subseed=expected["subseed"])
    request = read_txt2img(sent)
    settings = Settings().changed(read_overrides(sent))
    info = json.loads(write_info(sent, drawn(request, settings), settings, ModelFacts("holdout", HASH[:10], None, None), 0.0))
    assert list(info) == list(expected)
    assert len(info) == 32
    own = {"job_timestamp": info["job_timestamp"], "version": f"webui {__version__}"}
    assert info == {**expected, **own}


def drawn(request: GenerationRequest, settings: Settings) -> GenerationResult:
    used = {"Eta": str(request.eta)} if request.eta is not None else {}

    def picture(index: int) -> Picture:
        alone = request.of_image(index)
        infotext = write_infotext(
            alone, settings, model_name="holdout", model_hash=HASH, vae_name=None, vae_hash=None, used=used, version="1.10.1"
        )
        return Picture(f"id{index}", "job", index, Path("x.png"), alone, infotext, True)

    return GenerationResult(request, tuple(picture(index) for index in range(request.images)))


def test_info_of_a_job_without_pictures_is_complete() -> None:
    request = read(seed=5, n_iter=2).with_real_seed()
    info = json.loads(write_info(wire(), GenerationResult(request, ()), Settings(), ModelFacts("m", None, None, None), 0.0))
    assert (info["infotexts"], info["all_seeds"], info["extra_generation_params"]) == ([], [5, 6], {})
    assert info["subseed"] >= 0


def test_progress_begins_at_a_hundredth_and_ends_at_one() -> None:
    request = GenerationRequest(batch_count=4, steps=20)
    assert write_progress(request, None, 0.0).progress == 0.01
    middle = write_progress(request, Progress(2, 4, 10, 20, 0.625, 3.5), 0.0)
    assert (middle.progress, middle.eta_relative) == (0.635, 3.5)
    state = middle.state
    assert (state.job, state.job_count, state.job_no, state.sampling_step, state.sampling_steps) == ("Batch 3 out of 4", 4, 2, 10, 20)
    assert write_progress(request, Progress(3, 4, 20, 20, 1.0, 0.0), 0.0).progress == 1.0


def test_no_secret_of_the_command_line_is_shown() -> None:
    flags = {
        "api_auth": "anna:geheim", "gradio_auth": [("anna", "geheim")], "gradio_auth_path": "/home/anna/geheim", "tls_keyfile": "geheim",
        "ngrok": "geheim", "share_token": "geheim", "port": 7860, "listen": False, "ckpt_dir": Path("/models"), "dirs": (Path("a"), "b"),
        "api_auth_off": None,
    }  # fmt: skip
    shown = redact(flags)
    assert "geheim" not in json.dumps(shown)
    assert shown["port"] == 7860
    assert shown["ckpt_dir"] == "/models"
    assert shown["dirs"] == ["a", "b"]
    assert list(shown) == list(flags)

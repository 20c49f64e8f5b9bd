"""ControlNet over HTTP, in the shapes that sd-webui-controlnet's clients send and expect."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageOps
from starlette.testclient import TestClient

from tests.catalog.model_files import write_model
from tests.fake_engine import FakeEngine
from webui.app import App
from webui.core.paths import Paths
from webui.core.preprocessors import PREPROCESSORS
from webui.core.request_parts.control import ControlUnit

SMALL = {"prompt": "a red apple", "steps": 1, "width": 64, "height": 72, "seed": 7}
SD1 = {
    "control_model.input_hint_block.0.weight": (2, 3, 1, 1),
    "control_model.middle_block.1.transformer_blocks.0.attn2.to_k.weight": (2, 768),
}


def encoded(colour: str = "red", size: tuple[int, int] = (16, 8), mode: str = "RGB") -> str:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).convert(mode).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


PICTURE, MASK = encoded(), encoded("white", mode="L")
UNIT = {"image": PICTURE, "module": "canny", "model": "canny_sd15"}


@pytest.fixture(autouse=True)
def _model(paths: Paths) -> None:
    """There before the app looks."""
    write_model(paths.controls[0] / "canny_sd15.safetensors", SD1)


def post(client: TestClient, units: Any, key: str = "controlnet", path: str = "txt2img", **values: Any) -> tuple[int, Any]:
    scripts = {key: {"args": units}}
    response = client.post(f"/sdapi/v1/{path}", json={**SMALL, "alwayson_scripts": scripts, **values})
    return response.status_code, response.json()


def asked(client: TestClient, app: App, *units: Any, **values: Any) -> tuple[ControlUnit, ...]:
    """What units mean, once they are queued."""
    status, body = post(client, list(units), **values)
    assert status == 200, body
    return app.queue.jobs()[0].request.control_units


def decoded(picture: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")


@pytest.mark.parametrize("key", ["controlnet", "ControlNet", "CONTROLNET"])
def test_a_unit_is_queued_with_its_picture_and_what_it_followed_comes_behind_the_pictures(
    client: TestClient, app: App, engine: FakeEngine, key: str
) -> None:
    status, body = post(client, [UNIT], key=key, n_iter=2)
    assert status == 200, body
    (unit,) = app.queue.jobs()[0].request.control_units
    assert (unit.enabled, unit.module, unit.model, unit.processor_res, unit.threshold_a) == (True, "canny", "canny_sd15", 512, 100)
    assert [decoded(one).size for one in body["images"]] == [(64, 72), (64, 72), (16, 8)]
    assert decoded(body["images"][2]).getpixel((0, 0)) == ImageOps.invert(decoded(PICTURE)).getpixel((0, 0))
    assert engine.annotated == [("canny", (16, 8), 512, 100, 200)]
    assert 'ControlNet 0: \\"Module: canny, Model: canny_sd15' in body["info"] or "ControlNet 0" in body["info"]


@pytest.mark.parametrize(("unit", "values"), [({"save_detected_map": False}, {}), ({}, {"send_images": False})])
def test_a_client_need_not_be_sent_what_was_followed(client: TestClient, unit: dict[str, Any], values: dict[str, Any]) -> None:
    _, body = post(client, [{**UNIT, **unit}], **values)
    assert len(body["images"]) == (0 if values else 1)


def test_a_setting_keeps_what_was_followed_out_of_all_answers(client: TestClient, app: App) -> None:
    app.settings.change({"control_net_no_detectmap": True})
    assert len(post(client, [UNIT])[1]["images"]) == 1


@pytest.mark.parametrize(
    "image",
    [
        PICTURE, "data:image/png;base64," + PICTURE, [PICTURE], [PICTURE, MASK], {"image": PICTURE}, {"image": PICTURE, "mask": MASK},
        [{"image": PICTURE, "mask": MASK}],
    ],
)  # fmt: skip
def test_a_picture_comes_in_any_of_the_shapes_that_clients_send(client: TestClient, app: App, image: Any) -> None:
    (unit,) = asked(client, app, {**UNIT, "image": image})
    assert len(unit.image) == 64
    assert bool(unit.mask) == (MASK in str(image))


def test_what_webuiapi_sends_is_taken(client: TestClient, app: App) -> None:
    sent = {
        "image": PICTURE, "mask": None, "module": "canny", "model": "canny_sd15", "weight": 1.0, "resize_mode": "Resize and Fill",
        "low_vram": False, "processor_res": 512, "threshold_a": 64, "threshold_b": 64, "guidance_start": 0.0, "guidance_end": 1.0,
        "control_mode": "Balanced", "pixel_perfect": False, "hr_option": "Both", "enabled": True,
    }  # fmt: skip
    (unit,) = asked(client, app, sent)
    assert (unit.threshold_a, unit.threshold_b, unit.resize_mode, unit.mask) == (64, 64, "Resize and Fill", "")


def test_older_names_of_fields_are_known(client: TestClient, app: App) -> None:
    rest = {"module": "inpaint_only", "model": "canny_sd15"}
    (unit,) = asked(client, app, {"input_image": PICTURE, "mask_image": MASK, "guidance": 0.5, "lowvram": True, "guessmode": False, **rest})
    assert (bool(unit.image), bool(unit.mask), unit.guidance_end) == (True, True, 0.5)


@pytest.mark.parametrize(
    ("given", "meant"),
    [(0, "Just Resize"), (1, "Crop and Resize"), (2, "Resize and Fill"), (3, "Just Resize"), ("resize and fill", "Resize and Fill"),
     ("Scale to Fit (Inner Fit)", "Crop and Resize"), ("Envelope (Outer Fit)", "Resize and Fill"), (None, "Crop and Resize")],
)  # fmt: skip
def test_a_resize_mode_is_a_number_or_words(client: TestClient, app: App, given: Any, meant: str) -> None:
    assert asked(client, app, {**UNIT, "resize_mode": given})[0].resize_mode == meant


@pytest.mark.parametrize(
    ("given", "meant"), [(0, "Balanced"), (1, "My prompt is more important"), (2, "ControlNet is more important"), ("balanced", "Balanced")]
)
def test_a_control_mode_is_a_number_or_words(client: TestClient, app: App, given: Any, meant: str) -> None:
    assert asked(client, app, {**UNIT, "control_mode": given})[0].control_mode == meant


def test_units_are_numbered_by_their_place_and_idle_ones_need_nothing(client: TestClient, app: App) -> None:
    units = asked(client, app, None, {"enabled": False, "model": "nonsense"}, {}, UNIT)
    assert [unit.enabled for unit in units] == [False, False, False, True]


def test_in_img2img_a_unit_without_a_picture_follows_the_one_that_is_drawn_from(client: TestClient, app: App, engine: FakeEngine) -> None:
    (unit,) = asked(client, app, {"module": "canny", "model": "canny_sd15"}, path="img2img", init_images=[encoded("blue", (40, 32))])
    assert unit.image == ""
    assert engine.annotated[0][:2] == ("canny", (40, 32))


def test_numbers_that_the_preprocessor_cannot_take_are_its_own_and_that_is_said(client: TestClient, app: App) -> None:
    # What webuiapi sends whatever the preprocessor is.
    (unit,) = asked(client, app, {**UNIT, "module": "mlsd", "processor_res": 512, "threshold_a": 64, "threshold_b": 64})
    assert (unit.threshold_a, unit.threshold_b) == (0.1, 0.1)
    result = app.queue.jobs()[0].result
    assert result is not None
    assert sum("threshold" in remark for remark in result.remarks) == 2


@pytest.mark.parametrize(
    ("units", "status", "says"),
    [
        ([{"module": "canny", "model": "canny_sd15"}], 400, "no picture"),
        ([{**UNIT, "model": "None"}], 400, "no model"),
        ([{**UNIT, "model": "cany_sd15"}], 400, "canny_sd15"),
        ([{**UNIT, "module": "cany"}], 400, "canny"),
        ([{**UNIT, "module": "inpaint_only"}], 400, "mask"),
        ([{**UNIT, "image": "no base64"}], 400, "Invalid encoded image"),
        ([{**UNIT, "image": "https://example.com/a.png"}], 400, "Requests not allowed"),
        ([{**UNIT, "image": "/etc/passwd"}], 400, "Invalid encoded image"),
        ([{**UNIT, "image": [UNIT, UNIT, UNIT]}], 400, "one"),
        ([{**UNIT, "image": 5}], 400, "base64"),
        ([{**UNIT, "weight": 7}], 400, "weight"),
        ([{**UNIT, "resize_mode": 9}], 400, "resize_mode"),
        ([{**UNIT, "control_mode": "x"}], 400, "control_mode"),
        ([{**UNIT, "threshold_a": "x"}], 400, "threshold_a"),
        ([{**UNIT, "guidance_start": 0.9, "guidance_end": 0.1}], 400, "guidance_start"),
        (["x"], 400, "object"),
        ({"a": 1}, 400, "list"),
        ([UNIT] * 33, 400, "32"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_queued_or_stored(
    client: TestClient, app: App, units: Any, status: int, says: str
) -> None:
    answered, body = post(client, units)
    assert (answered, says in body["errors"]) == (status, True), body
    assert app.queue.jobs() == ()


def test_nothing_is_stored_for_units_that_are_refused(client: TestClient, app: App) -> None:
    for wrong in ({"weight": 7}, {"resize_mode": 9}, {"mask": "no base64"}):
        assert post(client, [UNIT, {**UNIT, **wrong}])[0] == 400
    assert not list(app.paths.state.glob("inputs/*"))


def test_other_scripts_are_still_refused(client: TestClient) -> None:
    response = client.post("/sdapi/v1/txt2img", json={**SMALL, "alwayson_scripts": {"controlnet": {"args": []}, "other": {"args": []}}})
    assert (response.status_code, "always on script other not found" in response.json()["errors"]) == (422, True)


def test_a_model_for_another_family_is_refused_and_both_are_named(client: TestClient, app: App, paths: Paths) -> None:
    wide = {**SD1, "control_model.middle_block.1.transformer_blocks.0.attn2.to_k.weight": (2, 2048)}
    write_model(paths.controls[0] / "canny_xl.safetensors", wide)
    app.catalog.refresh()
    status, body = post(client, [{**UNIT, "model": "canny_xl"}])
    assert status == 400
    assert "'canny_xl' is for SDXL, but the checkpoint" in body["errors"]


def test_version_and_settings(client: TestClient) -> None:
    assert client.get("/controlnet/version").json() == {"version": 3}
    assert client.get("/controlnet/settings").json() == {"control_net_unit_count": 3}


def test_models_are_listed_and_new_ones_found(client: TestClient, paths: Paths) -> None:
    assert client.get("/controlnet/model_list").json() == {"model_list": ["canny_sd15"]}
    write_model(paths.controls[1] / "sub" / "diffusion_pytorch_model.safetensors", {**SD1, "x": (600_000,)})
    old = client.get("/controlnet/model_list", params={"update": "false"}).json()["model_list"]
    new = client.get("/controlnet/model_list").json()["model_list"]
    assert old == ["canny_sd15"]
    assert len(new) == 2
    assert [title for title in new if title.startswith("sub [") and title.endswith("]")]


def test_preprocessors_are_listed_by_name_and_by_label(client: TestClient) -> None:
    by_name = client.get("/controlnet/module_list").json()
    by_label = client.get("/controlnet/module_list", params={"alias_names": "true"}).json()
    assert by_name["module_list"] == [one.name for one in PREPROCESSORS]
    assert by_label["module_list"] == [one.label for one in PREPROCESSORS]
    assert by_name["module_detail"]["canny"] == {
        "model_free": False,
        "sliders": [
            {"name": "Resolution", "value": 512, "min": 64, "max": 2048, "step": 8},
            {"name": "Low Threshold", "value": 100, "min": 0, "max": 256, "step": 1},
            {"name": "High Threshold", "value": 200, "min": 0, "max": 256, "step": 1},
        ],
    }
    assert by_label["module_detail"].keys() == set(by_label["module_list"])


def test_control_types_say_what_goes_together(client: TestClient) -> None:
    types = client.get("/controlnet/control_types").json()["control_types"]
    assert types["Canny"]["module_list"] == ["none", "canny", "invert (from white bg & black line)"]
    assert types["Canny"]["model_list"] == ["None", "canny_sd15"]
    assert (types["Canny"]["default_option"], types["Canny"]["default_model"]) == ("canny", "canny_sd15")
    assert (types["Depth"]["default_model"], types["All"]["default_option"]) == ("None", "none")


def test_detect_answers_with_what_the_preprocessor_makes(client: TestClient, engine: FakeEngine) -> None:
    asked = {
        "controlnet_module": "canny",
        "controlnet_input_images": [PICTURE, encoded("blue")],
        "controlnet_processor_res": 256,
        "controlnet_threshold_a": 9999,
    }
    answer = client.post("/controlnet/detect", json=asked).json()
    assert answer["info"] == "Success"
    assert [decoded(one).getpixel((0, 0)) for one in answer["images"]] == [(0, 255, 255), (255, 255, 0)]
    assert engine.annotated[0] == ("canny", (16, 8), 256, -1, -1)


@pytest.mark.parametrize(
    ("asked", "says"),
    [({"controlnet_module": "nonsense", "controlnet_input_images": [PICTURE]}, "Module not available"), ({}, "No image selected"),
     ({"controlnet_module": "inpaint", "controlnet_input_images": [PICTURE]}, "controlnet_masks"),
     ({"controlnet_input_images": ["x"]}, "Invalid encoded image")],
)  # fmt: skip
def test_what_cannot_be_detected_is_refused(client: TestClient, asked: dict[str, Any], says: str) -> None:
    response = client.post("/controlnet/detect", json=asked)
    assert (response.status_code, says in response.json()["errors"]) == (400, True)


def test_the_routes_are_the_apis_and_guarded_as_such(serve: Any) -> None:
    client = serve(api_auth=[("me", "secret")])
    for path in ("version", "model_list", "module_list", "control_types", "settings", "nowhere"):
        assert client.get(f"/controlnet/{path}").status_code == 401
    assert client.post("/controlnet/detect", json={}).status_code == 401
    assert serve(api=False).get("/controlnet/version").status_code == 404
    assert serve().get("/controlnet/nowhere").status_code == 404


def test_a_control_picture_that_is_swept_away_is_told(client: TestClient, app: App, tmp_path: Path) -> None:
    (unit,) = asked(client, app, UNIT)
    (app.paths.state / "inputs" / f"{unit.image}.png").unlink()
    job = app.submit(app.queue.jobs()[0].request)
    job.wait(20)
    assert job.state == "failed"

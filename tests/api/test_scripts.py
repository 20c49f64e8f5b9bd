"""Scripts over HTTP, as A1111's clients ask for them: by title and a list of arguments, or an object of them."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from webui.app import App

SMALL = {"prompt": "a red cat", "steps": 2, "width": 64, "height": 64, "seed": 7}


def picture(side: int = 64) -> str:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((side, side)).convert("RGB").save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def draw(client: TestClient, route: str = "txt2img", **values: Any) -> Any:
    response = client.post(f"/sdapi/v1/{route}", json={**SMALL, **values})
    assert response.status_code == 200, response.text
    return response.json()


def size_of(encoded: str) -> tuple[int, int]:
    return Image.open(io.BytesIO(base64.b64decode(encoded))).size


def test_scripts_are_listed_for_each_tab(client: TestClient) -> None:
    names = client.get("/sdapi/v1/scripts").json()
    assert names["txt2img"] == ["x/y/z plot", "prompt matrix", "prompts from file or textbox", "controlnet"]
    of_pictures = ["loopback", "sd upscale", "poor man's outpainting", "outpainting mk2", "controlnet", "soft inpainting"]
    assert names["img2img"] == [*names["txt2img"][:-1], *of_pictures]


def test_always_on_scripts_are_told_with_their_arguments(client: TestClient) -> None:
    infos = [info for info in client.get("/sdapi/v1/script-info").json() if info["is_alwayson"]]
    assert [(info["name"], info["is_img2img"], len(info["args"])) for info in infos] == [
        ("controlnet", False, 0), ("controlnet", True, 0), ("soft inpainting", True, 7),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["Dynamic Prompts", "x/y/z plot", "ADetailer"])
def test_what_is_no_always_on_script_is_refused_as_in_a1111(client: TestClient, name: str) -> None:
    response = client.post("/sdapi/v1/txt2img", json={**SMALL, "alwayson_scripts": {name: {"args": []}}})
    assert response.status_code == 422
    assert ("selectable" if name == "x/y/z plot" else f"always on script {name} not found") in response.json()["detail"]


def test_the_arguments_of_a1111s_own_page_do_no_harm(client: TestClient) -> None:
    page = {"Seed": {"args": [-1, False, -1, 0, 0, 0]}, "Sampler": {"args": [20, "Euler", "Karras"]}, "Refiner": {"args": [False, "", 0.8]}}
    assert json.loads(draw(client, alwayson_scripts=page)["info"])["seed"] == 7


def test_script_info_tells_the_arguments_in_the_order_of_script_args(client: TestClient) -> None:
    infos = client.get("/sdapi/v1/script-info").json()
    selectable = [info for info in infos if not info["is_alwayson"]]
    assert [(info["name"], info["is_img2img"]) for info in selectable[:4]] == [
        ("x/y/z plot", False), ("prompt matrix", False), ("prompts from file or textbox", False), ("x/y/z plot", True),
    ]  # fmt: skip
    upscale = next(info for info in infos if info["name"] == "sd upscale")
    assert [argument["label"] for argument in upscale["args"]] == [None, "Tile overlap", "Upscaler", "Scale factor"]
    assert upscale["args"][3] == {"label": "Scale factor", "value": 2.0, "minimum": 1.0, "maximum": 4.0, "step": 0.05, "choices": None}
    assert upscale["args"][2]["choices"] == ["None", "Lanczos", "Nearest"]


def test_a1111s_own_payload_of_sd_upscale_makes_the_picture_twice_as_large(client: TestClient) -> None:
    answer = draw(client, "img2img", init_images=[picture()], script_name="sd upscale", script_args=["", 8, "Lanczos", 2.0])
    assert [size_of(image) for image in answer["images"]] == [(128, 128)]
    info = json.loads(answer["info"])
    assert info["index_of_first_image"] == 0
    assert info["extra_generation_params"]["SD upscale upscaler"] == "Lanczos"


@pytest.mark.parametrize("arguments", [
    ["Seed", "1-2", [], "Steps", "1,2,3", [], "Nothing", "", []],
    [1, "1-2", [], 4, "1,2,3", [], 0, "", []],
    {"x_type": "Seed", "x_values": "1-2", "y_type": "Steps", "y_values": "1,2,3"},
])  # fmt: skip
def test_a_plot_is_asked_for_by_labels_by_a1111s_numbers_or_by_names(client: TestClient, arguments: Any) -> None:
    answer = draw(client, script_name="X/Y/Z plot", script_args=arguments)
    assert len(answer["images"]) == 1
    assert size_of(answer["images"][0])[0] > 2 * 64
    info = json.loads(answer["info"])
    assert info["index_of_first_image"] == 1
    assert "X Type: Seed, X Values: 1-2" in info["infotexts"][0]
    assert "Y Type: Steps" in info["infotexts"][0]


def test_info_tells_of_each_picture_of_a_script_and_the_grid_comes_first(client: TestClient) -> None:
    arguments = {"x_type": "Prompt S/R", "x_values": "red,blue", "include_lone_images": True}
    answer = draw(client, script_name="x/y/z plot", script_args=arguments)
    info = json.loads(answer["info"])
    assert len(answer["images"]) == len(info["infotexts"]) == 3
    assert info["all_prompts"] == ["a red cat", "a red cat", "a blue cat"]
    assert info["all_seeds"] == [7, 7, 7]


def test_numbers_of_axes_are_counted_within_the_tab(client: TestClient, app: App) -> None:
    draw(client, script_name="x/y/z plot", script_args=[6, "3"])
    draw(client, "img2img", init_images=[picture()], script_name="x/y/z plot", script_args=[5, "4"])
    assert [job.request.script_args["x_type"] for job in app.queue.jobs()] == ["CFG Scale", "CFG Scale"]


@pytest.mark.parametrize(
    ("name", "says"), [("nothing like it", "Script 'nothing like it' not found"), ("loopback", "begins with a picture")]
)
def test_a_script_that_the_tab_does_not_have_is_refused_as_a1111_does(client: TestClient, name: str, says: str) -> None:
    response = client.post("/sdapi/v1/txt2img", json={**SMALL, "script_name": name})
    assert response.status_code == 422
    assert says in response.json()["detail"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"x_type": "Colour", "x_values": "1"}, "Unknown axis 'Colour'"),
        ({"x_type": "Steps", "x_values": "1-10000"}, "at most 1000"),
        ({"x_type": "Steps", "x_values": "0"}, "steps: got 0"),
        ({"x_type": "Seed", "x_values": "1-999", "y_type": "Steps", "y_values": "1-900"}, "at most 5000"),
        ({"wrong": 1}, "wrong: got 1"),
        ([99], "axis number 99"),
        (list(range(40)), "got 40 values"),
    ],
)
def test_what_a_script_cannot_do_is_refused_before_anything_is_drawn(client: TestClient, app: App, arguments: Any, says: str) -> None:
    response = client.post("/sdapi/v1/txt2img", json={**SMALL, "script_name": "x/y/z plot", "script_args": arguments})
    assert response.status_code == 400
    assert says in response.json()["detail"]
    assert app.queue.jobs() == ()


@pytest.mark.parametrize(("saved", "grids"), [(True, 1), (False, 0)])
def test_pictures_that_are_kept_come_with_their_grid_as_from_a1111(client: TestClient, saved: bool, grids: int) -> None:
    answer = draw(client, n_iter=2, save_images=saved, do_not_save_grid=True)
    assert [size_of(image) for image in answer["images"]] == [(128, 64)] * grids + [(64, 64)] * 2
    info = json.loads(answer["info"])
    assert info["index_of_first_image"] == grids
    assert len(info["infotexts"]) == 2 + grids
    assert info["all_seeds"] == [7, 8]

"""A picture's own words over HTTP."""

from __future__ import annotations

import base64
import io

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from starlette.testclient import TestClient

INFOTEXT = "a cat\nNegative prompt: red\nSteps: 5, Sampler: Euler a, CFG scale: 3, Seed: 9, Size: 64x128, Model: one, Version: v1.6.0"


def png(**texts: str) -> str:
    info = PngInfo()
    for key, text in texts.items():
        info.add_text(key, text)
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "PNG", pnginfo=info)
    return base64.b64encode(file.getvalue()).decode()


def test_the_infotext_its_fields_and_the_other_texts_are_told(client: TestClient) -> None:
    answer = client.post("/sdapi/v1/png-info", json={"image": "data:image/png;base64," + png(parameters=INFOTEXT, Title="mine")}).json()
    assert answer["info"] == INFOTEXT
    assert answer["items"] == {"Title": "mine"}
    fields = answer["parameters"]
    assert (fields["Prompt"], fields["Negative prompt"], fields["Seed"], fields["Size-1"]) == ("a cat", "red", "9", "64")
    assert fields["Clip skip"] == "1"  # A1111 tells what a missing key stands for


def test_a_picture_that_says_nothing_has_an_empty_answer(client: TestClient) -> None:
    assert client.post("/sdapi/v1/png-info", json={"image": png()}).json() == {"info": "", "items": {}, "parameters": {}}


def test_what_we_draw_can_be_read_back(client: TestClient) -> None:
    drawn = client.post("/sdapi/v1/txt2img", json={"prompt": "a cat, (dog)", "steps": 2, "seed": 7, "width": 64, "height": 64}).json()
    answer = client.post("/sdapi/v1/png-info", json={"image": drawn["images"][0]}).json()
    assert (answer["parameters"]["Prompt"], answer["parameters"]["Seed"]) == ("a cat, (dog)", "7")


@pytest.mark.parametrize("image", ["", "no base64!", base64.b64encode(b"no picture").decode()])
def test_what_is_no_picture_is_refused(client: TestClient, image: str) -> None:
    response = client.post("/sdapi/v1/png-info", json={"image": image})
    assert response.status_code == 400
    assert response.json()["error"] == "InvalidRequest"

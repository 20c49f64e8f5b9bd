from __future__ import annotations

import json

import pytest
from starlette.testclient import TestClient

from webui.app import App
from webui.core.settings import Settings

URL = "/sdapi/v1/options"


def test_get_gives_every_setting_and_the_title_of_the_checkpoint_in_use(client: TestClient) -> None:
    assert client.get(URL).json() == {
        **Settings().model_dump(mode="json", exclude={"extension_settings"}),
        "sd_model_checkpoint": "demo.safetensors",
    }


def test_post_changes_and_stores(client: TestClient, app: App) -> None:
    response = client.post(URL, json={"CLIP_stop_at_last_layers": 2, "live_previews_enable": False})
    assert (response.status_code, response.json()) == (200, None)
    values = client.get(URL).json()
    assert (values["CLIP_stop_at_last_layers"], values["live_previews_enable"]) == (2, False)
    assert json.loads(app.paths.config.read_text()) == {"CLIP_stop_at_last_layers": 2, "live_previews_enable": False}


def test_what_get_gave_can_be_posted_back(client: TestClient) -> None:
    values = client.get(URL).json()
    assert client.post(URL, json=values).status_code == 200
    assert client.get(URL).json() == values


@pytest.mark.parametrize("alias", ["demo", "demo.safetensors", "demo.safetensors [0123456789]"])
def test_the_checkpoint_may_be_named_by_any_alias_and_is_stored_by_name(client: TestClient, app: App, alias: str) -> None:
    assert client.post(URL, json={"sd_model_checkpoint": alias}).status_code == 200
    assert app.settings.snapshot().sd_model_checkpoint == "demo.safetensors"


def test_an_empty_name_means_the_default_again(client: TestClient, app: App) -> None:
    client.post(URL, json={"sd_model_checkpoint": "demo", "sd_vae": "None"})
    assert client.post(URL, json={"sd_model_checkpoint": "", "sd_vae": ""}).status_code == 200
    assert (app.settings.snapshot().sd_model_checkpoint, app.settings.snapshot().sd_vae) == ("", "Automatic")


@pytest.mark.parametrize(
    "wrong",
    [
        {"send_seed": True}, {"outdir_txt2img_samples": "/etc"}, {"CLIP_stop_at_last_layers": 99}, {"CLIP_stop_at_last_layers": None},
        {"sd_model_checkpoint": "missing"}, {"sd_model_checkpoint": 5}, {"sd_vae": "missing"}, {"emphasis": "Loud"},
        {"samples_filename_pattern": "x" * 201},
    ],
)  # fmt: skip
def test_one_wrong_setting_keeps_all_from_changing(client: TestClient, app: App, wrong: dict[str, object]) -> None:
    response = client.post(URL, json={"comma_padding_backtrack": 5, **wrong, "eta_ddim": 0.5})
    assert response.status_code == 400
    assert next(iter(wrong)) in response.json()["errors"] or next(iter(wrong.values())) == "missing"
    assert app.settings.snapshot() == Settings()
    assert not app.paths.config.exists()


@pytest.mark.parametrize("body", ["[]", "5", '"x"', "null", ""])
def test_a_body_that_is_no_object_is_a_validation_error(client: TestClient, body: str) -> None:
    assert client.post(URL, content=body, headers={"Content-Type": "application/json"}).status_code == 422


def test_a_checkpoint_that_vanished_is_still_told(client: TestClient, app: App) -> None:
    app.settings.change({"sd_model_checkpoint": "gone.safetensors"})
    assert client.get(URL).json()["sd_model_checkpoint"] == "gone.safetensors"


def test_half_a_character_in_a_setting_does_no_harm(client: TestClient) -> None:
    response = client.post(URL, content=b'{"samples_filename_pattern": "[seed]\\ud800"}', headers={"Content-Type": "application/json"})
    assert response.status_code == 200
    assert client.get(URL).json()["samples_filename_pattern"] == "[seed]?"

"""What a paste would change, as the page is told; without a browser."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from webui.app import App
from webui.core.errors import InvalidRequest
from webui.core.images import encode_png
from webui.core.metadata import read as read_metadata
from webui.core.request import GenerationRequest
from webui.core.styles import Style
from webui.ui.paste import MAX_PICTURE_BYTES, exact, in_words, preview, uploaded_form, uploaded_picture

INFOTEXT = (
    "a cat\nNegative prompt: a dog\nSteps: 30, Sampler: Euler a, CFG scale: 7, Seed: 9007199254740993, Size: 256x320, Version: v1.10.1"
)


def change_of(told: dict[str, Any], name: str) -> dict[str, Any]:
    (change,) = [change for change in told["changes"] if change["name"] == name]
    return change


def picture_of(app: App, **changes: Any) -> bytes:
    job = app.submit(GenerationRequest(**{"width": 64, "height": 64, "steps": 3, **changes}), source="api")
    job.wait(60)
    return job.pictures[0].path.read_bytes()


def test_the_prompts_are_told_apart_from_all_other_changes(fake_app: App) -> None:
    told = preview(fake_app, INFOTEXT, {"steps": 20, "cfg_scale": 7, "width": 256})
    assert told["prompts"] == {"prompt": "a cat", "negative_prompt": "a dog", "styles": []}
    assert [change["name"] for change in told["changes"]] == ["steps", "sampler", "seed", "height"]
    assert {key: change_of(told, "steps")[key] for key in ("title", "old", "new", "value", "kind")} == {
        "title": "Sampling steps", "old": "20", "new": "30", "value": 30, "kind": "request",
    }  # fmt: skip


def test_a_large_seed_keeps_every_digit_on_its_way_through_a_browser(fake_app: App) -> None:
    change = change_of(preview(fake_app, INFOTEXT, {}), "seed")
    assert change["value"] == "9007199254740993"
    assert change["old"] == "a new one each time"
    assert exact(2**53 + 1) == "9007199254740993"


@pytest.mark.parametrize("text", ["a cat", "", "a cat (red:1.2), photo: 35mm\nin two lines"])
def test_a_mere_prompt_is_no_infotext_and_stays_as_it_is(fake_app: App, text: str) -> None:
    told = preview(fake_app, text, {})
    assert not told["is_infotext"]
    assert told["prompts"] == {}


def test_a_prompt_with_its_negative_is_taken_apart(fake_app: App) -> None:
    told = preview(fake_app, "a cat\nNegative prompt: a dog", {})
    assert told["prompts"] == {"prompt": "a cat", "negative_prompt": "a dog", "styles": []}
    assert told["changes"] == []


def test_another_model_is_marked_and_a_missing_one_only_remarked(fake_app: App) -> None:
    told = preview(fake_app, f"{INFOTEXT}, Model: nowhere, VAE: None", {})
    assert change_of(told, "vae")["kind"] == "model"
    assert "checkpoint" not in [change["name"] for change in told["changes"]]
    assert any("'nowhere' is not here" in remark for remark in told["remarks"])


def test_a_setting_is_kept_beside_the_form_unless_it_is_as_the_settings_are(fake_app: App) -> None:
    beside = {"overrides": {"settings": {"CLIP_stop_at_last_layers": 3}}}
    change = change_of(preview(fake_app, f"{INFOTEXT}, Clip skip: 2", beside), "CLIP_stop_at_last_layers")
    assert (change["kind"], change["old"], change["new"], change["value"], change["standing"]) == ("setting", "3", "2", 2, False)
    back = change_of(preview(fake_app, INFOTEXT, beside), "CLIP_stop_at_last_layers")
    assert (back["old"], back["new"], back["standing"]) == ("3", "1", True)


def test_what_means_nothing_here_is_told(fake_app: App) -> None:
    assert preview(fake_app, f"{INFOTEXT}, Foo bar: baz", {})["unknown"] == [["Foo bar", "baz"]]


def test_stored_styles_in_the_prompts_are_chosen_again_and_others_are_not(fake_app: App) -> None:
    fake_app.styles.save(Style("Photo", "photo of {prompt}", "painting"))
    text = INFOTEXT.replace("a cat", "photo of a cat").replace("a dog", "a dog, painting")
    assert preview(fake_app, text, {"styles": ["Film"]})["prompts"] == {"prompt": "a cat", "negative_prompt": "a dog", "styles": ["Photo"]}


def test_a_pictures_record_gives_what_its_text_does_not(fake_app: App) -> None:
    data = picture_of(fake_app, prompt="a cat", eta=0.5)
    change = change_of(preview(fake_app, read_metadata(data), {}), "eta")
    assert (change["kind"], change["old"], change["new"], change["value"]) == ("hidden", "as the settings say", "0.5", 0.5)


def test_a_prompt_drawn_from_a_template_is_offered_both_ways(fake_app: App) -> None:
    told = preview(fake_app, read_metadata(picture_of(fake_app, prompt="a {red|green} apple", seed=5)), {})
    assert told["prompts"]["prompt"] in ("a red apple", "a green apple")
    (template,) = [change for change in told["changes"] if change["kind"] == "template"]
    assert (template["name"], template["value"]) == ("prompt", "a {red|green} apple")


def test_a_picture_that_says_nothing_is_told(fake_app: App) -> None:
    plain = encode_png(Image.new("RGB", (8, 8)), {})
    assert not preview(fake_app, read_metadata(plain), None)["is_infotext"]


@pytest.mark.parametrize("files", [[], [("a", b"x"), ("b", b"y")]])
def test_not_one_file_is_refused(files: list[tuple[str, bytes]]) -> None:
    with pytest.raises(InvalidRequest, match=f"Got {len(files)} files"):
        uploaded_picture(SimpleNamespace(files=files))


def test_a_file_that_is_too_large_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="at most"):
        uploaded_picture(SimpleNamespace(files=[("a.png", bytes(MAX_PICTURE_BYTES + 1))]))


@pytest.mark.parametrize("form", ["", "{", "[" * 100_000, "null"])
def test_a_form_that_cannot_be_read_is_none(form: str) -> None:
    assert uploaded_form(SimpleNamespace(data={"form": form})) is None


@pytest.mark.parametrize(
    ("value", "wanted"),
    [(True, "on"), (False, "off"), (None, "as the settings say"), (7.0, "7"), (0.05, "0.05"), ("", "(none)"), (3, "3")],
)
def test_values_are_told_in_words(value: Any, wanted: str) -> None:
    assert in_words(value) == wanted

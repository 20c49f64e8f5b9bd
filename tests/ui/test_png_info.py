"""What a picture says of itself, and drawing it again: told in words, and in a real browser."""

from __future__ import annotations

import io

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.ui.person import INFOTEXT, PROMPT, Site, draw, drop, picture_file
from webui.app import App
from webui.core.images import encode_png, read_png_texts
from webui.core.metadata import PictureMetadata
from webui.core.metadata import read as read_metadata
from webui.core.request import GenerationRequest
from webui.core.verdict import Difference, Verdict
from webui.ui.png_info_tab import ROWS_SHOWN, TEXT_SHOWN, describe
from webui.ui.verification import in_words, progress, start, stop

PANEL = "#pnginfo_panel"
VERDICT = f"{PANEL} .verdict h2"
NOTICE = f"{PANEL} .notice"
HOSTILE = "<img src=x onerror=window.hacked=1>${window.hacked=1}{{x}}"


def edited(data: bytes, **replaced: str) -> bytes:
    """The same picture with other texts and one other pixel, so that its record no longer counts."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    red, *rest = image.getpixel((3, 4))
    image.putpixel((3, 4), (red ^ 128, *rest))
    texts = read_png_texts(data)
    texts["parameters"] = texts["parameters"].replace("Version: ", f"Foo: {HOSTILE.replace(',', '')}, Version: other ")
    return encode_png(image, {**texts, **replaced})


def open_in_tab(page: Page, data: bytes, name: str = "cat.png") -> None:
    page.get_by_role("tab", name="PNG Info").click()
    page.set_input_files("#pnginfo_image", {"name": name, "mimeType": "image/png", "buffer": data})


def drawn(app: App, **changes: object) -> bytes:
    job = app.submit(GenerationRequest(**{"prompt": "a cat", "width": 64, "height": 64, "steps": 3, **changes}), source="api")
    job.wait(60)
    return job.pictures[0].path.read_bytes()


def test_a_picture_of_ours_is_described_whole(fake_app: App) -> None:
    told = describe(read_metadata(drawn(fake_app, negative_prompt="a dog")))
    assert (told["program"], told["recorded"], told["drawable"]) == ("webui", True, True)
    assert told["prompts"] == [["Prompt", "a cat"], ["Negative prompt", "a dog"]]
    assert ["Size", "64x64"] in told["fields"]
    assert told["infotext"].startswith("a cat\nNegative prompt: a dog\nSteps: 3, ")


def test_long_and_many_texts_are_cut() -> None:
    pairs = ", ".join(f"Key{number}: {number}" for number in range(ROWS_SHOWN * 2))
    told = describe(PictureMetadata(infotext=f"a cat\n{pairs}", items={"workflow": "x" * (TEXT_SHOWN + 5)}))
    assert len(told["fields"]) == ROWS_SHOWN
    assert told["items"] == [["workflow", f"{'x' * TEXT_SHOWN} … ({TEXT_SHOWN + 5} characters)"]]


def test_a_picture_that_says_nothing_cannot_be_drawn_again(fake_app: App) -> None:
    plain = encode_png(Image.new("RGB", (8, 8)), {})
    assert not describe(read_metadata(plain))["drawable"]
    assert "says nothing" in start(fake_app, plain)["error"]


def test_a_verification_is_no_job_that_a_page_opens_on_and_leaves_no_picture(fake_app: App) -> None:
    data = drawn(fake_app)
    before = list(fake_app.paths.outputs.rglob("*.png"))
    job = fake_app.queue.job(start(fake_app, data)["job"])
    job.wait(60)
    assert job.source == "verify"
    assert list(fake_app.paths.outputs.rglob("*.png")) == before


def test_a_verifications_progress_ends_with_the_verdict(fake_app: App) -> None:
    fake_app.queue.pause()
    job_id = start(fake_app, drawn_while_paused(fake_app))["job"]
    waiting = progress(fake_app, job_id, None)
    assert waiting["state"] == "queued"
    assert "verdict" not in waiting
    fake_app.queue.resume()
    fake_app.queue.job(job_id).wait(60)
    ended = progress(fake_app, job_id, None)
    assert ended["verdict"]["identical"]
    assert len(ended["pictures"]) == 1
    assert progress(fake_app, job_id, ended["pictures"][0]["id"])["pictures"] == []


def drawn_while_paused(app: App) -> bytes:
    app.queue.resume()
    data = drawn(app)
    app.queue.pause()
    return data


def test_a_stopped_verification_is_cancelled_and_an_unknown_one_is_nothing_to_stop(fake_app: App) -> None:
    data = drawn(fake_app)
    fake_app.queue.pause()
    job_id = start(fake_app, data)["job"]
    stop(fake_app, job_id)
    assert progress(fake_app, job_id, None)["state"] == "cancelled"
    stop(fake_app, "no such job")
    assert progress(fake_app, "no such job", None)["state"] == "gone"


def test_a_job_that_verified_nothing_has_no_verdict(fake_app: App) -> None:
    job = fake_app.submit(GenerationRequest(width=64, height=64, steps=1), source="ui")
    job.wait(60)
    assert "verifies no picture" in progress(fake_app, job.id, None)["error"]


@pytest.mark.parametrize(
    ("verdict", "headline", "numbers"),
    [
        (Verdict(True, None, 0, 0.0, ()), "Identical", ""),
        (Verdict(False, 55.3, 1, 0.00002, ()), "Almost identical", ("55.3", "1", "less than 0.01")),
        (Verdict(False, 33.0, 12, 0.123, ()), "Slightly different", ("33.0", "12", "12.3")),
        (Verdict(False, 9.0, 255, 1.0, ()), "Different", ("9.0", "255", "100")),
        (Verdict(False, None, 255, 1.0, ()), "Another size", ""),
    ],
)
def test_a_verdict_is_told_in_words(verdict: Verdict, headline: str, numbers: tuple[str, str, str] | str) -> None:
    told = in_words(verdict)
    assert told["headline"] == headline
    wanted = numbers and "PSNR {} dB · largest difference {} of 255 · {} % of the values differ".format(*numbers)
    assert told["numbers"] == wanted
    assert told["meaning"].endswith((".", ":"))


def test_a_differing_field_is_told_with_what_it_does() -> None:
    told = in_words(Verdict(False, 20.0, 90, 0.9, (Difference("Model hash", "aa", "bb"), Difference("Size-1", "64", "72"))))
    assert [(one["key"], one["then"], one["now"]) for one in told["differences"]] == [("Model hash", "aa", "bb"), ("Width", "64", "72")]
    assert "Another checkpoint file" in told["differences"][0]["meaning"]


@pytest.mark.parametrize(("then", "now"), [("", "cuda"), ("cuda", "")])
def test_what_only_one_of_the_pictures_says_is_not_taken_for_a_reason(then: str, now: str) -> None:
    told = in_words(Verdict(False, 20.0, 90, 0.9, (Difference("Device", then, now),)))
    assert told["differences"][0]["meaning"] == "Only one of them says it."


@pytest.mark.browser
def test_a_chosen_picture_is_shown_with_all_it_says(page: Page, site: Site) -> None:
    open_in_tab(page, picture_file(site, "a red apple", negative_prompt="a pear", seed=5))
    expect(page.locator("#pnginfo_program")).to_have_text("Made by this program. Its exact record lies beside the text.")
    expect(page.locator(f"{PANEL} .prompt-text")).to_have_text(["a red apple", "a pear"])
    expect(page.locator(f"{PANEL} .pairs-table").first).to_contain_text("Seed")
    assert page.eval_on_selector(f"{PANEL} .picture-well img", "image => image.naturalWidth") == 64
    page.click(f"{PANEL} summary")
    expect(page.locator("#pnginfo_infotext")).to_contain_text("Negative prompt: a pear\nSteps: 3")


@pytest.mark.browser
def test_a_picture_of_ours_is_verified_as_identical(page: Page) -> None:
    draw(page, "to be verified")
    page.click("#send_to_pnginfo_txt2img")
    expect(page.locator(f"{PANEL} .prompt-text")).to_have_text("to be verified")
    page.click("#pnginfo_verify")
    expect(page.locator(VERDICT)).to_have_text("Identical")
    page.get_by_role("tab", name="txt2img").click()
    expect(page.locator(INFOTEXT)).to_contain_text("to be verified")


@pytest.mark.browser
def test_an_edited_picture_is_told_apart_with_the_differing_fields(page: Page, site: Site) -> None:
    open_in_tab(page, edited(picture_file(site, "edited")))
    page.click("#pnginfo_verify")
    expect(page.locator(VERDICT)).to_have_text("Almost identical")
    expect(page.locator(f"{PANEL} .verdict")).to_contain_text("largest difference 128 of 255")
    expect(page.locator(f"{PANEL} .differences tbody th")).to_contain_text(["Foo", "Version"])
    expect(page.get_by_alt_text("The picture drawn again")).to_be_visible()
    assert page.eval_on_selector(f"{PANEL} figure img", "async image => (await image.decode(), image.naturalWidth)") == 64


@pytest.mark.browser
def test_progress_is_shown_and_stopping_cancels_the_drawing(page: Page, site: Site) -> None:
    data = picture_file(site, "slowly", steps=50)
    site.engine.step_seconds = 0.2
    open_in_tab(page, data)
    page.click("#pnginfo_verify")
    expect(page.locator(f"{PANEL} .verdict-progress")).to_contain_text("step ")
    page.locator(f"{PANEL} .verdict-progress button").click()
    expect(page.locator(f"{PANEL} .verdict")).to_be_hidden()
    job = site.app.queue.jobs()[0]
    job.wait(60)
    assert (job.source, job.state) == ("verify", "cancelled")
    expect(page.locator("#pnginfo_verify")).to_be_enabled()


@pytest.mark.browser
def test_another_picture_ends_the_verification_of_the_first(page: Page, site: Site) -> None:
    first, second = picture_file(site, "the first", steps=50), picture_file(site, "the second")
    site.engine.step_seconds = 0.2
    open_in_tab(page, first)
    page.click("#pnginfo_verify")
    expect(page.locator(f"{PANEL} .verdict-progress")).to_be_visible()
    drop(page, f"{PANEL} .picture-well", "second.png", second)
    expect(page.locator(f"{PANEL} .prompt-text")).to_have_text("the second")
    expect(page.locator(f"{PANEL} .verdict")).to_be_hidden()
    job = next(job for job in site.app.queue.jobs() if job.source == "verify")
    job.wait(60)
    assert job.state == "cancelled"


@pytest.mark.browser
def test_sending_to_txt2img_asks_as_pasting_does(page: Page, site: Site) -> None:
    open_in_tab(page, picture_file(site, "sent over", seed=77))
    page.click("#pnginfo_send_to_txt2img")
    expect(page.locator("#txt2img_paste_dialog dialog[open]")).to_be_visible()
    expect(page.locator(PROMPT)).to_have_value("sent over")
    page.click("#paste_apply")
    expect(page.locator("#txt2img_seed input")).to_have_value("77")


@pytest.mark.browser
def test_hostile_texts_in_a_picture_are_shown_as_text(page: Page, site: Site) -> None:
    open_in_tab(page, edited(picture_file(site, HOSTILE), **{f"<b>{HOSTILE[:40]}": HOSTILE}), name=f"{HOSTILE}.png")
    expect(page.locator(f"{PANEL} .prompt-text")).to_have_text(HOSTILE)
    for fold in page.locator(f"{PANEL} summary").all():
        fold.click()
    expect(page.locator(f"{PANEL} .pairs-table").last).to_contain_text(HOSTILE)
    page.click("#pnginfo_verify")
    expect(page.locator(VERDICT)).to_be_visible()
    expect(page.locator(f"{PANEL} .differences")).to_contain_text("<img src=x")
    assert page.locator(f"{PANEL} .picture-texts :is(img, script, b), {PANEL} .differences img").count() == 0
    assert page.evaluate("window.hacked") is None


@pytest.mark.browser
@pytest.mark.parametrize(("data", "told"), [(b"no picture", "picture"), (bytes(2000), "at most")], ids=["text", "large"])
def test_a_file_that_cannot_be_read_is_told(page: Page, data: bytes, told: str) -> None:
    page.evaluate("window.webui.facts.largestPicture = 1000")
    open_in_tab(page, data)
    expect(page.locator(NOTICE)).to_contain_text(told)
    expect(page.locator("#pnginfo_verify")).to_be_hidden()


@pytest.mark.browser
def test_a_picture_without_texts_offers_no_buttons(page: Page) -> None:
    open_in_tab(page, encode_png(Image.new("RGB", (8, 8)), {}))
    expect(page.locator("#pnginfo_program")).to_have_text("This picture says nothing of how it was made.")
    expect(page.locator("#pnginfo_verify")).to_be_hidden()

"""The Extras tab: which folders it may read, and a person who makes a picture larger."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.ui.person import SLOW, Site
from webui.app import App
from webui.core.errors import InvalidRequest
from webui.core.images import encode_png, read_png_texts
from webui.ui.extras_tab import folder_inside, offered, picture_before, submit

PANEL = "#extras_panel"
OPTIONS = {"upscaler_1": "Nearest", "scale": 2.0}


def file_of(width: int = 24, height: int = 16, colour: tuple[int, int, int] = (200, 30, 30), **texts: str) -> bytes:
    return encode_png(Image.new("RGB", (width, height), colour), texts)


def upload(data: bytes, name: str = "cat.png") -> dict[str, object]:
    return {"name": name, "mimeType": "image/png", "buffer": data}


@pytest.fixture
def app(fake_app: App) -> App:
    for folder in (fake_app.paths.outputs / "txt2img-images", fake_app.paths.data / "inputs" / "holiday", fake_app.paths.data / "secret"):
        folder.mkdir(parents=True)
        (folder / "b.png").write_bytes(file_of(8, 8))
    (fake_app.paths.data / "inputs" / "holiday" / "a.PNG").write_bytes(file_of(6, 8))
    (fake_app.paths.data / "inputs" / "holiday" / "notes.txt").write_text("no picture")
    return fake_app


@pytest.mark.parametrize("name", ["inputs/holiday", "inputs\\holiday", "outputs/txt2img-images/", "inputs/../inputs/holiday"])
def test_folders_of_the_data_folder_can_be_named(app: App, name: str) -> None:
    assert folder_inside(app, name).is_dir()


@pytest.mark.parametrize(
    "name",
    ["", "/", "/etc", "secret", "inputs/../secret", "inputs/../../..", "../inputs", "inputs/absent", "inputs/link", "inputs\0", "C:/x"],
)
def test_no_other_folder_is_read(app: App, name: str) -> None:
    (app.paths.data / "inputs" / "link").symlink_to(app.paths.data / "secret")
    with pytest.raises(InvalidRequest, match="Folder: got"):
        folder_inside(app, name)


def test_a_folders_pictures_become_one_job(app: App) -> None:
    (app.paths.data / "inputs" / "holiday" / "z.png").symlink_to(app.paths.data / "secret" / "b.png")
    job = app.queue.job(submit(app, {"options": OPTIONS, "folder": "inputs/holiday"}))
    job.wait(60)
    assert [picture.path.name for picture in job.pictures] == ["00000-a.png", "00001-b.png"]
    assert picture_before(app, job.pictures[1].id).startswith("data:image/png;base64,")


def test_nothing_to_do_and_nothing_to_work_on_are_told(app: App) -> None:
    with pytest.raises(InvalidRequest, match="Choose one"):
        submit(app, {"options": OPTIONS, "pictures": []})
    picture = app.take_picture(file_of()).model_dump()
    with pytest.raises(InvalidRequest, match="nothing to do"):
        submit(app, {"options": {"upscaler_1": "None"}, "pictures": [picture]})
    with pytest.raises(InvalidRequest, match="is not kept any more"):
        submit(app, {"options": OPTIONS, "pictures": [{**picture, "image": "0" * 64}]})


def test_the_controls_are_those_declared(app: App) -> None:
    offer = offered(app)
    assert offer["upscalers"][:3] == ["None", "Lanczos", "Nearest"]
    assert offer["folders"] == ["outputs/", "inputs/"]
    assert offer["parameters"]["scale"]["id"] == "extras_upscaling_resize"
    assert offer["parameters"]["upscaler_2_visibility"]["id"] == "extras_upscaler_2_visibility"
    assert [step["name"] for step in offer["steps"]] == ["Auto-sized crop"]


def open_tab(page: Page) -> None:
    page.get_by_role("tab", name="Extras").click()
    expect(page.locator("#extras_generate")).to_be_visible()


@pytest.mark.browser
def test_a_person_makes_a_picture_larger_and_compares_it(page: Page, site: Site, tmp_path: Path) -> None:
    open_tab(page)
    page.click("#extras_generate")
    expect(page.locator("#html_log_extras")).to_have_text("Choose a picture first.")
    page.set_input_files("#extras_image", upload(file_of(parameters="a cat")))
    page.select_option("#extras_upscaler_1 select", "Nearest")
    page.fill("#extras_upscaling_resize input[type=number]", "3")
    page.click("#extras_generate")
    expect(page.locator("#html_info_extras")).to_contain_text("72 × 48")
    expect(page.locator("#html_info_extras")).to_contain_text("Postprocess upscale by: 3.0, Postprocess upscaler: Nearest")
    expect(page.locator(f"{PANEL} .compare .before")).to_be_visible()
    page.locator("#extras_compare").evaluate("(line) => { line.value = 20; line.dispatchEvent(new Event('input')); }")
    assert page.locator(f"{PANEL} .compare").evaluate("(one) => one.style.getPropertyValue('--cut')") == "20%"
    with page.expect_download() as downloading:
        page.click("#download_extras")
    data = Path(downloading.value.path()).read_bytes()
    assert Image.open(io.BytesIO(data)).size == (72, 48)
    assert read_png_texts(data)["parameters"] == "a cat"


@pytest.mark.browser
def test_a_step_that_is_ticked_works_with_its_controls_values(page: Page, site: Site) -> None:
    open_tab(page)
    page.set_input_files("#extras_image", upload(file_of(), "stepped.png"))
    expect(page.locator("#extras_auto_sized_crop_mindim")).to_be_hidden()
    page.check("#extras_auto_sized_crop")
    page.fill("#extras_auto_sized_crop_mindim input[type=number]", "128")
    page.select_option("#extras_auto_sized_crop_objective select", "Minimize error")
    page.click("#extras_generate")
    expect(page.locator("#html_info_extras")).to_contain_text('Postprocess steps: "Auto-sized crop (mindim: 128, maxdim: 768')
    expect(page.locator("#html_info_extras")).to_contain_text("objective: Minimize error, threshold: 0.1)")


@pytest.mark.browser
def test_a_batch_is_followed_interrupted_and_found_again_after_a_reload(page: Page, site: Site) -> None:
    open_tab(page)
    page.get_by_role("tab", name="Batch Process").click()
    page.set_input_files("#extras_image_batch", [upload(file_of(colour=(number, 0, 0)), f"{number}.png") for number in range(4)])
    page.select_option("#extras_upscaler_1 select", "Lanczos")
    site.engine.step_seconds = SLOW
    page.click("#extras_generate")
    expect(page.locator(f"{PANEL} .progress")).to_be_visible()
    page.click("#extras_skip")
    expect(page.locator("#html_info_extras")).to_contain_text("Postprocess upscaler: Lanczos")
    page.click("#extras_interrupt")
    expect(page.locator("#html_log_extras")).to_contain_text("Interrupted;")
    expect(page.locator("#html_log_extras")).to_contain_text(".png was skipped.")
    shown = page.inner_text("#html_info_extras")
    site.open(page)
    open_tab(page)
    expect(page.locator("#html_info_extras")).to_have_text(shown)

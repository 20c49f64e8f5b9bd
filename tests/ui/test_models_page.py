"""The Models tab in a real browser: cards are found, put to use, noted on, and thrown away."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image
from playwright.sync_api import Page, expect
from safetensors.torch import save_file

from tests.catalog.model_files import LORA, SD1, SDXL, write_model
from tests.ui.person import PROMPT, Site, draw
from webui.core.desktop import Desktop
from webui.core.styles import Style

pytestmark = pytest.mark.browser

PANEL = "#models_panel"
SAID = f"{PANEL} .models-said"


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the folder is noted that is opened last."""
    return tmp_path_factory.mktemp("desktop") / "opened.txt"


@pytest.fixture(scope="module")
def desktop(opened: Path) -> Desktop:
    """A file manager that only notes what it is to show."""
    return Desktop((sys.executable, "-c", "import sys; open(sys.argv[1], 'w').write(sys.argv[2])", str(opened)))


@pytest.fixture(autouse=True)
def _models(site: Site) -> None:
    """Two checkpoints, LoRAs, an embedding."""
    paths = site.app.paths
    write_model(paths.checkpoints[0] / "plain.safetensors", SD1)
    write_model(paths.checkpoints[0] / "large-turbo.safetensors", SDXL)
    ink = write_model(paths.loras[0] / "ink.safetensors", LORA, {"ss_tag_frequency": json.dumps({"1_x": {"fine line": 7}})})
    ink.with_suffix(".json").write_text(json.dumps({"activation text": "ink drawing", "preferred weight": 0.8, "tags": ["style"]}))
    for number in range(130):
        write_model(paths.loras[0] / "many" / f"lora {number}.safetensors", LORA)
    paths.embeddings[0].mkdir(parents=True, exist_ok=True)
    save_file({"emb_params": torch.zeros(1, 4)}, paths.embeddings[0] / "softly.safetensors")
    site.app.catalog.refresh()


def open_models(page: Page, kind: str) -> None:
    page.get_by_role("tab", name="Models", exact=True).click()
    page.click(f"{PANEL} [data-kind={kind}]")
    expect(page.locator(f"{PANEL} [data-kind={kind}]")).to_have_attribute("aria-pressed", "true")


def use(page: Page, title: str, panel: str = PANEL) -> None:
    page.locator(panel).get_by_role("button", name=re.compile(rf"^Use {re.escape(title)}\b")).click()


def about(page: Page, title: str) -> None:
    page.locator(PANEL).get_by_role("button", name=f"About {title}", exact=True).dispatch_event("click")
    expect(page.locator(".model-sheet h2")).to_have_text(title)


def test_a_click_puts_a_lora_into_the_prompt_and_another_takes_it_out(page: Page) -> None:
    page.fill(PROMPT, "a cat")
    open_models(page, "lora")
    page.fill(f"{PANEL} input[type=search]", "ink")
    expect(page.locator(f"{PANEL} .models-count")).to_have_text("1 model")
    use(page, "ink")
    expect(page.locator(SAID)).to_have_text("ink is in the prompt of txt2img.")
    assert page.input_value(PROMPT) == "a cat <lora:ink:0.8> ink drawing"
    use(page, "ink")
    expect(page.locator(SAID)).to_have_text("ink is out of the prompt of txt2img.")
    assert page.input_value(PROMPT) == "a cat"


def test_cards_under_the_prompts_put_embeddings_into_their_own_tab(page: Page) -> None:
    page.click("#txt2img_extra_networks_button")
    panel = "#txt2img_extra_networks"
    page.click(f"{panel} [data-kind=embedding]")
    use(page, "softly", panel)
    expect(page.locator(PROMPT)).to_have_value("softly")
    page.click("#txt2img_extra_networks_button")
    expect(page.locator(panel)).to_be_hidden()


def test_a_checkpoints_card_chooses_it_with_the_values_that_suit_it(page: Page, site: Site) -> None:
    open_models(page, "checkpoint")
    use(page, "large-turbo")
    expect(page.locator(SAID)).to_have_text("large-turbo is the checkpoint now.")
    expect(page.locator("#setting_sd_model_checkpoint input")).to_have_value("large-turbo.safetensors")
    page.get_by_role("tab", name="txt2img", exact=True).click()
    expect(page.locator("#txt2img_steps input[type=number]")).to_have_value("4")
    draw(page, "quick")
    job = site.app.queue.jobs()[0]
    assert (job.request.checkpoint, job.request.steps, job.request.cfg_scale) == ("large-turbo.safetensors", 4, 1.0)


def test_a_picture_of_ones_own_becomes_a_preview_and_another_file_is_told(page: Page, site: Site, tmp_path: Path) -> None:
    Image.new("RGB", (1600, 400), (0, 90, 200)).save(tmp_path / "mine.jpg")
    (tmp_path / "text.png").write_text("no picture")
    open_models(page, "embedding")
    page.fill(f"{PANEL} input[type=search]", "softly")
    expect(page.locator(f"{PANEL} .card")).to_have_count(1)
    about(page, "softly")
    page.get_by_label("Picture for the preview").set_input_files(tmp_path / "text.png")
    expect(page.locator(".model-sheet .notice")).to_have_text("text.png is no picture that this browser can read.")
    page.get_by_label("Picture for the preview").set_input_files(tmp_path / "mine.jpg")
    expect(page.locator(".model-sheet [role=status]")).to_have_text("The picture is its preview now.")
    page.wait_for_function(f"document.querySelector('{PANEL} .card img')?.naturalWidth > 0")
    with Image.open(site.app.paths.embeddings[0] / "softly.preview.png") as stored:
        assert stored.size == (768, 192)
        assert abs(stored.getpixel((300, 100))[2] - 200) < 8


def test_notes_and_a_preview_stay_and_a_deleted_model_lies_in_the_trash(page: Page, site: Site) -> None:
    draw(page, "its preview")
    open_models(page, "lora")
    page.fill(f"{PANEL} input[type=search]", "ink")
    expect(page.locator(f"{PANEL} .card")).to_have_count(1)
    about(page, "ink")
    expect(page.locator(".model-sheet .training-tags")).to_contain_text("fine line (7)")
    page.get_by_label("Notes", exact=True).fill("<b>good</b> & bold")
    page.get_by_label("Tags, between commas").fill("style, dark")
    page.click(".model-sheet button[type=submit]")
    expect(page.locator(".model-sheet [role=status]")).to_have_text("Saved.")
    page.get_by_role("button", name="Preview from the last picture").click()
    expect(page.locator(".model-sheet [role=status]")).to_have_text("The picture is its preview now.")
    stored = json.loads((site.app.paths.loras[0] / "ink.json").read_text())
    assert (stored["notes"], stored["tags"], stored["activation text"]) == ("<b>good</b> & bold", ["style", "dark"], "ink drawing")
    page.wait_for_function(f"document.querySelector('{PANEL} .card img')?.naturalWidth > 0")
    site.open(page)
    open_models(page, "lora")
    page.select_option(f"{PANEL} .models-tag", "dark")
    expect(page.locator(f"{PANEL} .card-title")).to_have_text(["ink"])
    about(page, "ink")
    expect(page.get_by_label("Notes", exact=True)).to_have_value("<b>good</b> & bold")
    delete = page.locator(".model-sheet").get_by_role("button", name="Delete")
    delete.click()
    page.locator(".model-sheet").get_by_role("button", name="Click again").click()
    expect(page.locator(f"{PANEL} .card")).to_have_count(0)
    trash = site.app.paths.loras[0] / ".trash"
    assert {path.name for path in trash.iterdir()} >= {"ink.safetensors", "ink.json", "ink.preview.png"}


def test_a_sheet_says_where_a_model_is_used_and_shows_its_pictures_in_the_gallery(page: Page, site: Site) -> None:
    site.app.styles.save(Style("inked", "{prompt} <lora:ink:0.5>"))
    site.app.styles.save(Style("other", "{prompt} <lora:inkwell:1>"))
    draw(page, "a quince without it")
    draw(page, "a medlar <lora:ink:0.8>")
    open_models(page, "lora")
    page.fill(f"{PANEL} input[type=search]", "lora 12")
    expect(page.locator(f"{PANEL} .models-count")).to_have_text("12 models")
    about(page, "lora 12")
    used = page.locator(".model-sheet .model-used")
    expect(used).to_have_text("Not used in any picture or style yet.")
    page.locator(".model-sheet").get_by_role("button", name="Close").click()
    page.fill(f"{PANEL} input[type=search]", "ink")
    expect(page.locator(f"{PANEL} .card")).to_have_count(1)
    about(page, "ink")
    expect(used).to_contain_text("Styles: inked.")
    used.get_by_role("button", name="1 picture", exact=True).click()
    expect(page.locator("#gallery_search")).to_have_value('"<lora:ink"')
    expect(page.locator("#gallery_panel .gallery-tile")).to_have_count(1)
    expect(page.locator("#gallery_panel .gallery-tile img")).to_have_attribute("alt", "a medlar <lora:ink:0.8>")


def test_the_folder_of_a_model_and_of_a_picture_opens_on_the_machine_itself(page: Page, site: Site, opened: Path) -> None:
    draw(page, "a picture in its folder")
    page.click("#open_folder_txt2img")
    place = site.app.queue.jobs()[0].result.pictures[0].path.parent
    wait_for_text(opened, str(place.resolve()))
    open_models(page, "lora")
    page.fill(f"{PANEL} input[type=search]", "lora 77")
    expect(page.locator(f"{PANEL} .card")).to_have_count(1)
    about(page, "lora 77")
    page.locator(".model-sheet").get_by_role("button", name="Open folder").click()
    wait_for_text(opened, str((site.app.paths.loras[0] / "many").resolve()))


def wait_for_text(file: Path, text: str) -> None:
    for _ in range(600):
        if file.exists() and file.read_text() == text:
            return
        time.sleep(0.1)
    raise AssertionError(f"{file.read_text() if file.exists() else 'nothing'} was opened, not {text}")


def test_the_tree_of_folders_shows_what_is_in_one_and_below_it(page: Page, site: Site) -> None:
    root = site.app.paths.loras[0]
    for name in ("deep/er/still.safetensors", "deep/one.safetensors", "deeper/other.safetensors"):
        write_model(root / name, LORA)
    site.app.catalog.refresh()
    open_models(page, "lora")
    tree, titles = page.locator(f"{PANEL} .folder-tree"), page.locator(f"{PANEL} .card-title")
    expect(tree.get_by_role("button")).to_have_text(["All folders", "deep", "deeper", "many"])
    tree.get_by_role("button", name="deep", exact=True).click()
    expect(titles).to_have_text(["still", "one"])
    expect(tree.get_by_role("button", name="deep", exact=True)).to_have_attribute("aria-expanded", "true")
    tree.get_by_role("button", name="er", exact=True).press("Enter")
    expect(titles).to_have_text(["still"])
    expect(tree.get_by_role("button", name="er", exact=True)).to_be_focused()
    tree.get_by_role("button", name="deep", exact=True).click()
    expect(titles).to_have_text(["still", "one"])
    tree.get_by_role("button", name="deep", exact=True).click()
    expect(tree.get_by_role("button")).to_have_text(["All folders", "deep", "deeper", "many"])
    tree.get_by_role("button", name="All folders").click()
    expect(page.locator(f"{PANEL} .models-count")).to_have_text(f"{len(site.app.catalog.loras())} models")
    page.set_viewport_size({"width": 390, "height": 800})
    expect(tree).to_be_hidden()
    page.select_option(f"{PANEL} .models-folder", "deep/er")
    expect(titles).to_have_text(["still"])
    page.set_viewport_size({"width": 1440, "height": 900})


def test_only_what_is_near_the_view_is_asked_for(page: Page) -> None:
    open_models(page, "lora")
    expect(page.locator(f"{PANEL} .models-count")).to_contain_text("models")
    page.set_viewport_size({"width": 1000, "height": 500})
    shown = page.locator(f"{PANEL} .card").count()
    assert 0 < shown <= 131
    page.locator(f"{PANEL} .models-end").scroll_into_view_if_needed()
    expect(page.locator(f"{PANEL} .card")).to_have_count(int(page.inner_text(f"{PANEL} .models-count").split()[0]))


def test_a_new_model_appears_by_refresh_and_a_broken_one_says_why(page: Page, site: Site) -> None:
    open_models(page, "lora")
    broken: Path = site.app.paths.loras[0] / "broken.safetensors"
    broken.write_bytes(b"nonsense")
    page.click(f"{PANEL} .icon-refresh")
    expect(page.locator(SAID)).to_contain_text("cannot be used; their cards say why")
    page.fill(f"{PANEL} input[type=search]", "broken")
    use(page, "broken")
    expect(page.locator(SAID)).to_contain_text("broken.safetensors is not a safetensors file.")
    broken.unlink()


def test_two_checkpoints_are_merged_and_the_result_is_a_card(page: Page, site: Site) -> None:
    page.get_by_role("tab", name="Models", exact=True).click()
    page.click("#model_merge > summary")
    page.select_option("#model_merge_primary", "plain.safetensors")
    page.click("#model_merge_start")
    expect(page.locator("#model_merge .notice")).to_contain_text("secondary")
    page.select_option("#model_merge_secondary", "large-turbo.safetensors")
    page.fill("#model_merge_custom_name", "../outside")
    page.click("#model_merge_start")
    expect(page.locator("#model_merge .notice")).to_contain_text("outside")
    assert not [job for job in site.app.queue.jobs() if job.source == "models"]


def test_a_download_of_a_local_address_is_refused_before_it_is_queued(page: Page, site: Site) -> None:
    page.get_by_role("tab", name="Models", exact=True).click()
    page.click("#model_download > summary")
    page.fill("#model_download_source", "http://127.0.0.1/model.safetensors")
    page.click("#model_download_start")
    expect(page.locator("#model_download .notice")).to_contain_text("Downloads are turned off.")
    site.app.change_settings({"model_download_enable": True})
    page.click("#model_download_start")
    expect(page.locator("#model_download .notice")).to_contain_text("https://")
    site.app.change_settings({"model_download_enable": False})

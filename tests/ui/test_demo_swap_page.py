"""The demo family on the page, with the real engine: a person swaps VAE, LoRA, embedding and checkpoint and sees other pictures."""

from __future__ import annotations

from base64 import b64decode
from io import BytesIO
from itertools import combinations

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.ui.person import INFOTEXT, PROMPT, STAGE_PICTURE, Site, result, set_number

pytestmark = pytest.mark.browser

CARDS = "#txt2img_extra_networks"
SAYING = "a red heart on a white background"


@pytest.fixture(scope="module")
def site(real_site: Site) -> Site:
    """A server with the real engine."""
    return real_site


def choose(page: Page, bar: str, shown: str) -> None:
    """Choose in a dropdown of the bar above the tabs."""
    page.click(f"#{bar} input")
    page.get_by_role("option", name=shown, exact=True).click()
    expect(page.locator(f"#{bar} input")).to_have_value(shown)


def use_card(page: Page, kind: str, title: str) -> None:
    """Press a model's card under the prompts."""
    page.click("#txt2img_extra_networks_button")
    page.click(f"{CARDS} [data-kind={kind}]")
    page.locator(CARDS).get_by_role("button", name=f"Use {title}", exact=True).click()
    page.click("#txt2img_extra_networks_button")
    expect(page.locator(CARDS)).to_be_hidden()


def seen(page: Page, says: str) -> np.ndarray:
    """Draw, and what the large picture on the page shows then, (128, 128, 3).  says: what only this picture's infotext has."""
    with result(page, "txt2img", seconds=240):
        page.press(PROMPT, "Control+Enter")
    expect(page.locator(INFOTEXT)).to_contain_text(says, timeout=240_000)
    page.wait_for_function(
        """([picture, infotext]) => {
            const image = document.querySelector(picture);
            const { id } = document.querySelector(infotext).dataset;
            return image.complete && image.naturalWidth === 128 && image.getAttribute("src").includes(id);
        }""",
        arg=[STAGE_PICTURE, INFOTEXT],
    )
    encoded = page.eval_on_selector(
        STAGE_PICTURE,
        """(image) => {
            const canvas = Object.assign(document.createElement("canvas"), { width: image.naturalWidth, height: image.naturalHeight });
            canvas.getContext("2d").drawImage(image, 0, 0);
            return canvas.toDataURL("image/png").split(",")[1];
        }""",
    )
    return np.asarray(Image.open(BytesIO(b64decode(encoded))).convert("RGB")).astype(int)


def test_a_person_swaps_every_model_of_the_family_and_sees_another_picture_each_time(page: Page) -> None:
    expect(page.locator("#setting_sd_model_checkpoint input")).to_have_value("demo.safetensors")
    expect(page.locator("#setting_sd_vae input")).to_have_value("Automatic")
    set_number(page, "steps", 8)
    page.fill("#txt2img_seed input", "3")
    page.fill(PROMPT, SAYING)
    shown = {"own": seen(page, SAYING)}
    choose(page, "setting_sd_vae", "poster-for-demo.safetensors")
    shown["vae"] = seen(page, "VAE: poster-for-demo.safetensors")
    choose(page, "setting_sd_vae", "Automatic")
    use_card(page, "lora", "demo-blueprint")
    expect(page.locator(PROMPT)).to_have_value(f"{SAYING} <lora:demo-blueprint:1>")
    shown["lora"] = seen(page, "<lora:demo-blueprint:1>")
    use_card(page, "lora", "demo-blueprint")
    use_card(page, "embedding", "demo-neapolitan")
    expect(page.locator(PROMPT)).to_have_value(f"{SAYING} demo-neapolitan")
    shown["embedding"] = seen(page, "demo-neapolitan")
    page.fill(PROMPT, SAYING)
    choose(page, "setting_sd_model_checkpoint", "demo-inpainting.safetensors")
    shown["checkpoint"] = seen(page, "Model: demo-inpainting")
    names = tuple(shown)
    away = {(one, other): np.abs(shown[one] - shown[other]).mean() for one, other in combinations(names, 2)}
    assert min(away.values()) > 10, away

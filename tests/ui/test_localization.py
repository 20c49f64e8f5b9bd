"""The localisation that ships is complete, and says what the page says."""

from __future__ import annotations

import json
import re

from tools.list_texts import compare, javascript_texts, page_texts
from webui.app import App
from webui.core.localizations import COMPLETE, OWN

CHINESE = json.loads((OWN / COMPLETE).read_text(encoding="utf-8"))
# Names, keys and what is written in letters in Chinese too.
SAME = frozenset({
    "ControlNet", "Ctrl+Shift+Z", "Ctrl+Z", "Eta", "LoRA", "NGMS", "Rho", "SHA-256", "Sigma churn", "Sigma noise", "Sigma tmax",
    "Sigma tmin", "Stable Diffusion", "Stable Diffusion XL", "VAE", "inputs/…", "sha256 {1}",
})  # fmt: skip


def test_chinese_has_every_text_of_the_page_and_no_other(fake_app: App) -> None:
    missing, extra = compare(CHINESE, *page_texts(fake_app))
    hint = "PYTHONPATH=. python tools/list_texts.py --check zh_CN tells it; add the translations to webui/localizations/zh_CN.json."
    assert (missing, extra) == ([], []), hint


def test_every_chinese_text_is_chinese_and_has_the_slots_of_its_key() -> None:
    for key, text in CHINESE.items():
        assert sorted(re.findall(r"\{\d\}", key)) == sorted(re.findall(r"\{\d\}", text)), key
        assert key in SAME or re.search("[一-鿿]", text) or text == "User-Agent", key


def test_the_texts_of_a_script_are_found_wherever_they_stand() -> None:
    source = """
      // "Not this comment"
      make("p", { className: "note big", title: `Remove: ${name}` }, "It's a text",
        /"no (text)"/.test(a) ? "Yes it is" : `${n} ${n === 1 ? "cat" : "cats"} sleep.`);
      element.querySelector(".some .class"); const key = "settings_key"; say(`${a}${b} of ${`${c} inner words`} left · `);
    """
    assert set(javascript_texts(source)) == {
        "Remove: {1}", "It's a text", "Yes it is", "{1} {2} sleep.", "cat", "cats", "{1} of {2} left", "{1} inner words",
    }  # fmt: skip

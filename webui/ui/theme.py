"""Colours, type and assets of the page. Nothing here comes from another machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import gradio as gr

from webui.core.parameters import parameters_of
from webui.core.request import GenerationRequest
from webui.core.settings import Settings
from webui.ui.fields import ELEMENT_NAMES, declared, shown
from webui.ui.form import SEED_EXTRAS
from webui.ui.paste import MAX_PICTURE_BYTES

TITLE = "Stable Diffusion"
TABS = ("txt2img", "img2img", "inpaint", "depth2img")
ASSETS = Path(__file__).parent / "assets"
STYLES = (
    "page.css", "controls.css", "icons.css", "prompts.css", "sheets.css", "results.css", "pnginfo.css", "extras.css", "queue.css",
    "models.css", "settings.css", "gallery.css", "canvas.css", "pictures.css", "controlnet.css", "narrow.css",
)  # fmt: skip
SCRIPTS = (
    "page.js", "zip.js", "form.js", "prompts.js", "paste.js", "styles.js", "send.js", "results.js", "pnginfo.js", "extras.js", "queue.js",
    "canvas_layers.js", "canvas_view.js", "canvas_bar.js", "canvas_gestures.js", "canvas_sender.js", "canvas_editor.js", "canvas.js",
    "batch.js", "depth.js", "controlnet.js", "models.js", "model_sheet.js", "model_jobs.js", "settings.js", "gallery.js",
)  # fmt: skip
FONT = ("ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif")
FONT_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")


def build_theme() -> gr.themes.Base:
    """A quiet grey with one accent, light and dark, in the fonts the machine has."""
    theme = gr.themes.Base(
        primary_hue="teal", secondary_hue="teal", neutral_hue="zinc", font=FONT, font_mono=FONT_MONO,
        spacing_size="sm", radius_size="md", text_size="md",
    )  # fmt: skip
    return theme.set(
        body_background_fill="*neutral_100",
        body_background_fill_dark="#141416",
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
        block_border_width="0px",
        block_padding="0px",
        block_shadow="none",
        block_shadow_dark="none",
        block_label_background_fill="transparent",
        block_title_text_weight="500",
        block_title_text_size="*text_sm",
        block_title_text_color="*neutral_600",
        block_title_text_color_dark="*neutral_300",
        input_background_fill="white",
        input_background_fill_dark="#1d1d21",
        input_border_color="*neutral_300",
        input_border_color_dark="#3a3a41",
        input_border_width="1px",
        input_border_width_dark="1px",
        input_border_color_focus="*primary_500",
        input_border_color_focus_dark="*primary_500",
        input_shadow="none",
        input_shadow_focus="inset 0 0 0 1px *primary_500",
        input_shadow_focus_dark="inset 0 0 0 1px *primary_500",
        input_padding="8px 10px",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_500",
        button_primary_text_color="white",
        button_secondary_background_fill="white",
        button_secondary_background_fill_hover="*neutral_100",
        button_secondary_background_fill_dark="#26262b",
        button_secondary_background_fill_hover_dark="#313138",
        button_secondary_border_color="*neutral_300",
        button_secondary_border_color_dark="#3a3a41",
        button_border_width="1px",
        button_border_width_dark="1px",
        button_primary_shadow="none",
        button_secondary_shadow="none",
        button_primary_border_color="transparent",
        button_primary_border_color_dark="transparent",
        slider_color="*primary_600",
        slider_color_dark="*primary_500",
    )


def head(scheme: str | None) -> str:
    """What the page's head gets: our styles, our scripts, and what these must know.

    The styles come this way, not as gradio's `css`, because gradio confines that to what is inside its container, and the
    theme's and the job's state stand on the body.   scheme: "dark", "light", or None for the visitor's own.
    """
    facts = {
        "title": TITLE,
        "scheme": scheme,
        "tabs": TABS,
        "help": {ELEMENT_NAMES.get(name, name): one.help for name, one in parameters_of(GenerationRequest).items()},
        "titles": {
            "request": {name: one.title for name, one in parameters_of(GenerationRequest).items()},
            "settings": {name: one.title for name, one in parameters_of(Settings).items()},
        },
        "seedExtras": {name: shown(name, declared(name).default) for name in SEED_EXTRAS},
        "largestPicture": MAX_PICTURE_BYTES,
    }
    known = json.dumps(facts).replace("<", "\\u003c")
    return f"<style>{_read(STYLES)}</style><script>window.webui = {{facts: {known}}};\n{_read(SCRIPTS)}</script>"


def _read(names: Sequence[str]) -> str:
    return "\n".join((ASSETS / name).read_text(encoding="utf-8") for name in names)

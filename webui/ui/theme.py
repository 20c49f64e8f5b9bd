"""Colours, type and assets of the page. Nothing here comes from another machine."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import gradio as gr

from webui.core.extension_points import Assets
from webui.core.parameters import parameters_of
from webui.core.request import GenerationRequest
from webui.core.settings import Settings
from webui.ui.fields import ELEMENT_NAMES, declared, shown
from webui.ui.form import SEED_EXTRAS
from webui.ui.paste import MAX_PICTURE_BYTES

TITLE = "Stable Diffusion"
FILES = "extension-files"
TABS = ("txt2img", "img2img", "inpaint", "depth2img")
ASSETS = Path(__file__).parent / "assets"
STYLES = (
    "page.css", "controls.css", "icons.css", "prompts.css", "completion.css", "sheets.css", "results.css", "zoom.css", "compare.css",
    "pnginfo.css", "extras.css", "queue.css", "models.css", "settings.css", "extensions.css", "gallery.css", "canvas.css", "pictures.css",
    "controlnet.css", "narrow.css",
)  # fmt: skip
SCRIPTS = (
    "page.js", "localization.js", "memory.js", "zip.js", "form.js", "tools.js", "prompts.js", "prompt_keys.js", "colours.js",
    "completion.js", "history.js", "presets.js", "paste.js", "styles.js", "send.js", "zoom.js", "lightbox.js", "compare.js",
    "results_more.js", "forever.js", "results.js", "pnginfo.js", "extras_steps.js", "extras.js", "queue.js", "canvas_layers.js",
    "canvas_view.js", "canvas_bar.js", "canvas_gestures.js", "canvas_sender.js", "canvas_editor.js", "canvas.js", "batch.js", "depth.js",
    "describe.js", "controlnet.js", "folder_tree.js", "models.js", "model_sheet.js", "model_jobs.js", "settings.js", "gallery.js",
    "extensions.js", "extension_api.js",
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
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_800",
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


def head(scheme: str | None, assets: Sequence[Assets] = ()) -> str:
    """What the page's head gets: our styles, our scripts, what these must know, and those of extensions.

    The styles come this way, not as gradio's `css`, because gradio confines that to what is inside its container, and the
    theme's and the job's state stand on the body.   scheme: "dark", "light", or None for the visitor's own.
    assets: the files of extensions.
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
        "extensions": [one.extension for one in assets],
    }
    known = json.dumps(facts).replace("<", "\\u003c")
    added = "".join(map(_tags, assets))
    return f"<style>{_read(STYLES)}</style><script>window.webui = {{facts: {known}}};\n{_read(SCRIPTS)}</script>{added}"


def _tags(assets: Assets) -> str:
    """What loads an extension's files. The addresses change with the files, so that no browser keeps an old one."""

    def address(path: str) -> str:
        version = (assets.folder / path).stat().st_mtime_ns
        return html.escape(f"{FILES}/{quote(assets.extension)}/{quote(path)}?{version}", quote=True)

    style = f'<link rel="stylesheet" href="{address("style.css")}">' if assets.style else ""
    scripts = "".join(f'<script defer src="{address(path)}"></script>' for path in assets.scripts)
    modules = "".join(f'<script type="module" src="{address(path)}"></script>' for path in assets.modules)
    return style + scripts + modules


def _read(names: Sequence[str]) -> str:
    return "\n".join((ASSETS / name).read_text(encoding="utf-8") for name in names)

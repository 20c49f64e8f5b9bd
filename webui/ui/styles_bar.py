"""Stored styles: the choice of them under the prompts, the button that writes them into the prompts, and the dialog to edit them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from webui.app import App
from webui.core.errors import InvalidRequest, WebuiError
from webui.core.styles import Style, apply_styles
from webui.ui.form import read_names
from webui.ui.generate import Followed, followed
from webui.ui.quicksettings import icon_button

QUIET: Mapping[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private", "preprocess": False}


@dataclass(frozen=True)
class StylesBar:
    """A tab's components."""

    styles: gr.Dropdown
    apply: gr.Button


def build_styles(tab: str) -> StylesBar:
    """Lay a tab's bar out, inside a row; the names are filled in when a page opens."""
    styles = gr.Dropdown(
        [], value=[], multiselect=True, label="Styles", show_label=False, elem_id=f"{tab}_styles", elem_classes="styles-choice",
        interactive=True, scale=1, min_width=120,
    )  # fmt: skip
    apply = icon_button("Write the chosen styles into the prompts", "apply", f"{tab}_style_apply")
    icon_button("Edit styles", "edit", f"{tab}_styles_edit_button")
    return StylesBar(styles, apply)


def connect_styles(app: App, tab: str, bar: StylesBar, prompts: Sequence[Component], results: gr.HTML) -> None:
    """Make the buttons act.  prompts: both boxes.   results: the panel that tells what could not be done."""

    def on_apply(prompt: str, negative_prompt: str, names: Any, current: Followed | None) -> list[Any]:
        try:
            return [*apply_styles(prompt, negative_prompt, chosen_styles(app, names)), [], current]
        except InvalidRequest as error:
            return [prompt, negative_prompt, names, {**followed(None), **(current or {}), "message": str(error), "at": time.time()}]

    changed = [*prompts, bar.styles, results]
    bar.apply.click(on_apply, changed, changed, **QUIET)


def build_styles_dialog(app: App, choices: Sequence[gr.Dropdown]) -> None:
    """The dialog to edit styles, one for all tabs, empty until it is opened.  choices: the tabs' bars, which offer what it stores."""

    def list_styles(_: Any) -> dict[str, Any]:
        return as_shown(app)

    def save_style(style: dict[str, Any]) -> dict[str, Any]:
        return save(app, str(style["name"]), str(style["prompt"]), str(style["negative_prompt"]))

    def delete_style(name: Any) -> dict[str, Any]:
        return delete(app, str(name))

    def on_edited(*chosen: Any) -> list[dict[str, Any]] | dict[str, Any]:
        offers = [offer_styles(app, one) for one in chosen]
        return offers if len(offers) > 1 else offers[0]

    dialog = gr.HTML(
        value=None, html_template='<dialog class="sheet styles" aria-labelledby="styles_title"></dialog>', elem_id="txt2img_styles_dialog",
        elem_classes="no-room", server_functions=[list_styles, save_style, delete_style],
        js_on_load="window.webui.addStyles(element, server, () => trigger('edited'))", apply_default_css=False,
    )  # fmt: skip
    dialog.edited(on_edited, list(choices), list(choices), **QUIET)


def offer_styles(app: App, chosen: Any) -> dict[str, Any]:
    """What the choice offers; of those chosen, the ones that still exist stay."""
    names = [style.name for style in app.styles.styles()]
    return gr.update(choices=names, value=[name for name in read_names(chosen) if name in names])


def chosen_styles(app: App, chosen: Any) -> list[Style]:
    """The styles of these names, in their order, as far as they exist."""
    known = {style.name: style for style in app.styles.styles()}
    return [known[name] for name in read_names(chosen) if name in known]


def as_shown(app: App, error: str | None = None) -> dict[str, Any]:
    """All stored styles as the dialog takes them, and what is wrong: with what was asked for, or with a file."""
    styles = [{"name": one.name, "prompt": one.prompt, "negative_prompt": one.negative_prompt} for one in app.styles.styles()]
    return {"styles": styles, "error": error, "remarks": list(app.styles.problems())}


def save(app: App, name: str, prompt: str, negative_prompt: str) -> dict[str, Any]:
    """Store a style under its name, in place of one of that name."""
    return _change(app, lambda: app.styles.save(Style(name.strip(), prompt, negative_prompt)))


def delete(app: App, name: str) -> dict[str, Any]:
    """Forget a style."""
    return _change(app, lambda: app.styles.delete(name))


def _change(app: App, change: Callable[[], None]) -> dict[str, Any]:
    try:
        change()
    except WebuiError as error:
        return as_shown(app, str(error))
    except OSError as error:
        return as_shown(app, f"The file of styles cannot be written: {error.strerror}.")
    return as_shown(app)

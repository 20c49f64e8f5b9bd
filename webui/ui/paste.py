"""Taking parameters over from a text or a picture: what would change is told first, and the page changes what was ticked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import gradio as gr

from webui.app import App
from webui.core.errors import InvalidRequest, WebuiError
from webui.core.infotext_apply import PROMPTS, Change, Pasted, preview_changes
from webui.core.metadata import PictureMetadata
from webui.core.metadata import read as read_metadata
from webui.core.parameters import parameters_of
from webui.core.request import GenerationRequest
from webui.core.request_parts.control import ControlUnit
from webui.core.request_parts.sampling import SamplingParameters
from webui.core.settings import Settings
from webui.core.styles import extract_styles
from webui.ui.always_on_section import control_name
from webui.ui.fields import EXACT_IN_BROWSERS, shown
from webui.ui.form import WITHOUT_CONTROL, read_form_leniently

MAX_PICTURE_BYTES = 64 * 1024 * 1024
# What a pasted text may be long: a request's two prompts with all their pairs.
MAX_TEXT = 1_000_000
# They describe how the picture's prompt came about. The template is offered as a prompt of its own; the rest is not for a form.
_HISTORY = frozenset({"prompts", "negative_prompts", "prompt_template", "negative_template"})
# What every tab takes over; of all else, what it has a control for.
_OF_EVERY_TAB = frozenset({*SamplingParameters.model_fields, *WITHOUT_CONTROL, "checkpoint", "vae"})
_TEMPLATES: Mapping[str, str] = {"prompt_template": "prompt", "negative_template": "negative_prompt"}


def build_paste(app: App) -> gr.HTML:
    """The dialog that lists what a paste would change, one for all tabs. It is empty until something is pasted or dropped."""

    def preview_text(query: dict[str, Any]) -> dict[str, Any]:
        text = str(query.get("text", ""))
        if len(text) > MAX_TEXT:
            return {"error": f"The text has {len(text)} characters; at most {MAX_TEXT} are read."}
        return preview(app, text, query.get("form"))

    def preview_picture(upload: Any) -> dict[str, Any]:
        try:
            return preview(app, read_metadata(uploaded_picture(upload)), uploaded_form(upload))
        except WebuiError as error:
            return {"error": str(error)}

    return gr.HTML(
        value=None, html_template='<dialog class="sheet paste" aria-labelledby="paste_title"></dialog>', elem_id="txt2img_paste_dialog",
        elem_classes="no-room", server_functions=[preview_text, preview_picture],
        js_on_load="window.webui.addPaste(element, server)", apply_default_css=False,
    )  # fmt: skip


def uploaded_picture(upload: Any) -> bytes:
    """The one file that a page sent to a server function.  Raises InvalidRequest when there is none or it is too large."""
    files = getattr(upload, "files", None) or []
    if len(files) != 1:
        raise InvalidRequest(f"Got {len(files)} files; send one picture.")
    data: bytes = files[0][1]
    if len(data) > MAX_PICTURE_BYTES:
        raise InvalidRequest(f"The file has {len(data)} bytes; at most {MAX_PICTURE_BYTES} are read. Send a smaller picture.")
    return data


def uploaded_form(upload: Any) -> Any:
    """The form's values that came with a file; nothing when they cannot be read."""
    try:
        return json.loads(str(upload.data.get("form", "")))
    except (ValueError, RecursionError):
        return None


def preview(app: App, source: str | PictureMetadata, form: Any) -> dict[str, Any]:
    """What a paste would change, as a page lists it.

    form: the controls' values by name.   is_infotext: false for a text that is a prompt and nothing else.
    prompts: to be set at once, with the styles found in them.   changes: everything else, with old and new value in words.
    """
    pasted = app.read_paste(source)
    settings = app.settings.snapshot()
    request, overrides = read_form_leniently(form if isinstance(form, dict) else {})
    changes = preview_changes(pasted, request, settings.changed(overrides))
    if isinstance(source, PictureMetadata):
        is_infotext = bool(source.infotext or source.record)
    else:
        is_infotext = any(value for name, value in pasted.request_changes.items() if name != "prompt")
    listed = (_OF_EVERY_TAB | set(form if isinstance(form, dict) else ())) - _HISTORY
    return {
        "is_infotext": is_infotext,
        "prompts": _prompts(app, pasted) if is_infotext else {},
        "changes": [_describe(app, change, settings) for change in changes if change.kind == "setting" or change.name in listed]
        + _of_scripts(app, pasted, form if isinstance(form, dict) else {})
        + _templates(pasted),
        "unknown": [[key[:200], value[:2000]] for key, value in pasted.unknown.items()],
        "remarks": [*pasted.remarks, *_of_extension_settings(pasted, settings)],
    }


def _prompts(app: App, pasted: Pasted) -> dict[str, Any]:
    """Both prompts, less the stored styles that are in them, and these; none others stay chosen, or they would be applied on top."""
    texts = [pasted.request_changes.get(name, "") for name in PROMPTS]
    names, *rest = extract_styles(texts[0], texts[1], app.styles.styles())
    return {**dict(zip(PROMPTS, rest if names else texts, strict=True)), "styles": list(names)}


def in_words(value: Any) -> str:
    """A value as a person reads it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if value is None:
        return "as the settings say"
    if isinstance(value, tuple):
        units = [f"{one.module}, {one.model}, {one.weight:g}" for one in value if isinstance(one, ControlUnit) and one.enabled]
        return "; ".join(units) or "(none)"
    return f"{value:g}" if isinstance(value, float) else str(value) or "(none)"


def _describe(app: App, change: Change, settings: Settings) -> dict[str, Any]:
    """standing: the new value is that of the settings, so that nothing need be kept beside the form for it."""
    of_settings = change.kind == "setting"
    default = settings if of_settings else GenerationRequest()
    return {
        "kind": "setting" if of_settings else "hidden" if change.name in WITHOUT_CONTROL else change.kind,
        "name": change.name,
        "title": change.title,
        "old": _name_of(app, change.name, change.old),
        "new": _name_of(app, change.name, change.new),
        "value": exact(change.new) if of_settings or change.name in WITHOUT_CONTROL else shown(change.name, change.new),
        "standing": change.new == getattr(default, change.name),
    }


def _of_scripts(app: App, pasted: Pasted, form: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What changes of the always-on scripts' controls; a script that is not asked is as it is declared."""
    if "always_on" not in pasted.request_changes:
        return []
    asked = {title.lower(): values for title, values in pasted.request_changes["always_on"].items()}
    changes = []
    for script in (one.as_core() for one in app.host.always_on()):
        for argument, one in parameters_of(script.arguments).items():
            name, default = control_name(script.title, argument), _plain(one.default)
            new, old = _plain(asked.get(script.title.lower(), {}).get(argument, default)), form.get(name)
            if name in form and old != new:
                words = {"title": f"{script.title}: {one.title}", "old": _listed_in_words(old), "new": _listed_in_words(new)}
                changes.append({"kind": "request", "name": name, **words, "value": new, "standing": new == default})
    return changes


def _of_extension_settings(pasted: Pasted, settings: Settings) -> list[str]:
    """Settings of extensions that were others; a form has no place for them."""
    now = settings.extension_settings
    then = {name: value for name, value in pasted.settings_changes.items() if name in now and _plain(value) != _plain(now[name])}
    return [
        f"The setting {name} was {_listed_in_words(_plain(value))}; now it is {_listed_in_words(_plain(now[name]))}. Change it in Settings."
        for name, value in then.items()
    ]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _listed_in_words(value: Any) -> str:
    return ", ".join(map(str, value)) or "(none)" if isinstance(value, list) else in_words(value)


def exact(value: Any) -> Any:
    """A setting's value so that a browser does not round it."""
    return str(value) if isinstance(value, int) and abs(value) > EXACT_IN_BROWSERS else value


def _name_of(app: App, name: str, value: Any) -> str:
    if name == "checkpoint" and not value:
        return "the one of the settings"
    if name in ("seed", "subseed") and value == -1:
        return "a new one each time"
    return in_words(value)


def _templates(pasted: Pasted) -> list[dict[str, Any]]:
    """A prompt drawn from wildcards may be pasted as it was drawn, or as the template that it was drawn from."""
    return [
        {
            "kind": "template", "name": prompt, "title": f"Template of the {prompt.replace('_', ' ')}",
            "old": pasted.request_changes.get(prompt, ""), "new": template, "value": template, "standing": False,
        }
        for name, prompt in _TEMPLATES.items()
        if (template := pasted.request_changes.get(name))
    ]  # fmt: skip

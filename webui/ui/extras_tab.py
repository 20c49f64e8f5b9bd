"""The Extras tab: pictures made larger and faces mended, one, several, or a folder at a time."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path, PurePath
from typing import Any

import gradio as gr

from webui.app import App
from webui.core.declared import declared_model
from webui.core.errors import InvalidRequest, NotFound
from webui.core.extension_points import NewPostprocessor
from webui.core.extras import MAX_PICTURES, RESIZE_MODES, ExtrasRequest, read_extras
from webui.core.images import decode_image
from webui.core.parameters import Parameter, parameters_of
from webui.core.upscalers import FACE_RESTORERS
from webui.ui.answers import answered
from webui.ui.generate import data_url, look
from webui.ui.paste import MAX_PICTURE_BYTES, uploaded_picture

# Jobs of this tab are not what the txt2img tab opens on.
SOURCE = "extras"
# A1111's own default for the slider; its API's is 2.
SCALE_OFFERED = 4.0
INPUTS = "inputs"
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".avif", ".bmp"})


def build_extras(app: App) -> gr.HTML:
    """Lay the tab out, inside a gr.Tab. The page keeps the files and sends each once; then it asks for the job by their hashes."""

    def offer(_: Any) -> dict[str, Any]:
        return offered(app)

    def take(upload: Any) -> dict[str, Any]:
        return answered(lambda: {"picture": app.take_picture(uploaded_picture(upload), name=_name_of(upload)).model_dump()})

    def start(query: dict[str, Any]) -> dict[str, Any]:
        return answered(lambda: {"job": submit(app, query)})

    def follow(query: dict[str, Any]) -> dict[str, Any]:
        return look(app, str(query["job"]), known=frozenset(query["known"]), preview_seen=None, watching=False)

    def stop(query: dict[str, Any]) -> None:
        with suppress(NotFound):
            app.queue.cancel(str(query["job"]))

    def skip(query: dict[str, Any]) -> None:
        with suppress(NotFound):
            app.queue.skip(str(query["job"]))

    def before(query: dict[str, Any]) -> dict[str, Any]:
        return answered(lambda: {"image": picture_before(app, str(query["picture"]))})

    return gr.HTML(
        value=None, html_template='<section class="extras" aria-label="Extras"></section>', elem_id="extras_panel",
        server_functions=[offer, take, start, follow, stop, skip, before],
        js_on_load="window.webui.addExtras(element, server)", apply_default_css=False,
    )  # fmt: skip


def offered(app: App) -> dict[str, Any]:
    """What the tab's controls are made of: the declarations, and the names there are now."""
    upscalers = app.catalog.upscalers
    shown = {name: _describe(one) for name, one in parameters_of(ExtrasRequest).items() if name not in ("kind", "pictures", "steps")}
    shown["scale"]["default"] = SCALE_OFFERED
    return {
        "parameters": shown,
        "upscalers": [one.name for one in upscalers.all],
        "restorers": {name: upscalers.restorer(name) is not None for name in FACE_RESTORERS},
        "modes": list(RESIZE_MODES),
        "steps": [_describe_step(one) for one in app.host.postprocessors()],
        "folders": [f"{root.name}/" for root in roots(app)],
    }


def submit(app: App, query: dict[str, Any]) -> str:
    """Queue what a page asks for; the job's id.

    query: "options" by parameter, and either "pictures", as `take` gave them, or "folder".  Raises WebuiError.
    """
    options = query.get("options")
    if not isinstance(options, dict):
        raise InvalidRequest("The page sent no options. Reload it.")
    folder = str(query.get("folder") or "")
    pictures = _from_folder(app, folder) if folder else query.get("pictures")
    if not pictures:
        raise InvalidRequest("There is no picture to work on. Choose one.")
    request = read_extras({**options, "pictures": pictures})
    if not request.upscalers and not request.face_restorers and not request.steps:
        raise InvalidRequest("There is nothing to do: choose an upscaler, make a face restorer visible, or tick a step.")
    return app.submit_extras(request, source=SOURCE).id


def roots(app: App) -> tuple[Path, Path]:
    """The only folders on the server that this tab reads."""
    return app.paths.outputs, app.paths.data / INPUTS


def folder_inside(app: App, name: str) -> Path:
    """The folder that a name like "inputs/holiday" means.  Raises InvalidRequest when it is elsewhere, links included."""
    asked = PurePath(name.replace("\\", "/"))
    for root in roots(app):
        parts = asked.parts
        if not parts or parts[0] != root.name or "\0" in name:
            continue
        folder = root.joinpath(*parts[1:]).resolve()
        if folder.is_relative_to(root.resolve()) and folder.is_dir():
            return folder
    allowed = " or ".join(f"{root.name}/" for root in roots(app))
    raise InvalidRequest(f"Folder: got {name[:200]!r}; it must be there, and lie in {allowed} of the data folder.")


def picture_before(app: App, picture_id: str) -> str:
    """What a result was made of, small, as a data URL.  Raises NotFound."""
    alone = app.outputs.picture(picture_id).request
    if not isinstance(alone, ExtrasRequest):
        raise NotFound("That picture was drawn.")
    path = app.queue.inputs.files_of(alone)[alone.pictures[0].image]
    return data_url(decode_image(path.read_bytes()))


def _from_folder(app: App, name: str) -> list[dict[str, Any]]:
    folder = folder_inside(app, name)
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file() and not path.is_symlink())
    if not files:
        raise InvalidRequest(f"{name} holds no pictures ({', '.join(sorted(SUFFIXES))}).")
    if len(files) > MAX_PICTURES:
        raise InvalidRequest(f"{name} holds {len(files)} pictures; at most {MAX_PICTURES} are taken at a time.")
    return [app.take_picture(_read(path), name=path.name).model_dump() for path in files]


def _read(path: Path) -> bytes:
    size = path.stat().st_size
    if size > MAX_PICTURE_BYTES:
        raise InvalidRequest(f"{path.name} has {size} bytes; at most {MAX_PICTURE_BYTES} are read. Take it out of the folder.")
    return path.read_bytes()


def _name_of(upload: Any) -> str:
    """What the file is called on the visitor's machine."""
    return PurePath(str(upload.data.get("name", "")).replace("\\", "/")).name


def _describe_step(step: NewPostprocessor) -> dict[str, Any]:
    declared = parameters_of(declared_model(step.name, step.controls))
    slug = "".join(letter if letter.isalnum() else "_" for letter in step.name.lower())
    controls = {
        name: {
            **_describe(one),
            "id": f"extras_{slug}_{name}",
            "choices": list(one.choices) if one.choices else None,
            "isMany": isinstance(one.default, tuple),
        }
        for name, one in declared.items()
    }
    return {"id": f"extras_{slug}", "name": step.name, "controls": controls}


def _describe(one: Parameter) -> dict[str, Any]:
    low, high = one.slider or (one.minimum, one.maximum)
    return {
        "id": f"extras_{one.api.removeprefix('extras_')}", "title": one.title, "help": one.help, "default": one.default,
        "minimum": low, "maximum": high, "step": one.step, "isTick": one.type is bool,
    }  # fmt: skip

"""Many pictures one after another: uploaded ones, or those of a folder on the server; each becomes a job of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from webui.app import App
from webui.core.errors import InvalidRequest, WebuiError
from webui.core.images import decode_image
from webui.core.metadata import read as read_metadata
from webui.core.server_folders import find_folder, pictures_in, read_picture_file
from webui.ui.form import Wish, read_names
from webui.ui.paste import uploaded_picture
from webui.ui.picture_section import RESIZE_BY, outpainted_size, scaled_size
from webui.ui.tab import Spread
from webui.ui.tab_parts import NARROW, Parts

UPLOADED, FOLDER = "Uploaded files", "Server folder"
SOURCES = (("The picture above", ""), (UPLOADED, UPLOADED), (FOLDER, FOLDER))
# A job for each stays in the queue until it is drawn, and as many ended ones are remembered.
MAX_PICTURES = 200
INFOTEXT_SHOWN = 100_000
# A1111's names for what may be taken from the pictures' own metadata, and the request's parameters for them.
FROM_METADATA: Mapping[str, tuple[str, ...]] = {
    "Prompt": ("prompt",), "Negative prompt": ("negative_prompt",), "Seed": ("seed", "subseed", "subseed_strength"),
    "CFG scale": ("cfg_scale",), "Sampler": ("sampler", "schedule"), "Steps": ("steps",), "Model hash": ("checkpoint",),
}  # fmt: skip
USUALLY = ("Prompt", "Negative prompt", "Seed", "CFG scale", "Sampler", "Steps")


@dataclass(frozen=True)
class BatchSection:
    """The batch's controls. They make no request of their own: `spread_over_batch` makes many of the form's."""

    controls: Mapping[str, Component]

    def read(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Nothing."""
        return {}


@dataclass(frozen=True)
class BatchPicture:
    """One picture of a batch.  width, height: None until it is read.   infotext: how it was made, if it says so."""

    name: str
    picture: str
    width: int
    height: int
    mask: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)


def build_batch(app: App, parts: Parts) -> BatchSection:
    """Lay the section out. Uploaded files are stored at once, one by one; the server's are read when the jobs are queued."""

    def store_file(upload: Any) -> dict[str, Any]:
        try:
            return _store(app, uploaded_picture(upload))
        except WebuiError as error:
            return {"error": str(error)}

    controls: dict[str, Component] = {}
    tick = "(value) => ({__type__: 'update', label: value ? `Batch: ${value.toLowerCase()}` : 'Batch'})"
    with gr.Accordion("Batch", open=False, elem_id=parts.id("batch"), elem_classes="batch") as section:
        source = gr.Radio(SOURCES, value="", label="Draw from", elem_id=parts.id("batch_source"))
        controls["batch_source"] = source
        controls["batch_files"] = gr.HTML(
            value=None, html_template='<section class="batch-files" aria-label="Uploaded pictures"></section>',
            elem_id=parts.id("batch_files"), server_functions=[store_file],
            js_on_load="window.webui.addBatchFiles(element, props, server, watch)", apply_default_css=False,
            elem_classes="of-uploads",
        )  # fmt: skip
        with gr.Column(elem_classes="of-folder"):
            controls["batch_folder"] = gr.Textbox(
                label="Folder of pictures", placeholder="inputs/…", info="In inputs/ or outputs/ of the data folder.", max_lines=1,
                elem_id=parts.id("batch_input_dir"),
            )  # fmt: skip
            controls["batch_masks"] = gr.Textbox(
                label="Folder of masks", placeholder="None",
                info="A mask has its picture's name; a single one is for all. White is drawn anew.",
                max_lines=1, elem_id=parts.id("batch_inpaint_mask_dir"),
            )  # fmt: skip
        with gr.Row(elem_classes="pair"):
            controls["batch_metadata"] = gr.Checkbox(
                False, label="Append metadata of the pictures", elem_id=parts.id("batch_use_png_info"), min_width=NARROW,
                info="A picture's own prompt is put after the one above; other values replace it.",
            )  # fmt: skip
            controls["batch_metadata_of"] = gr.Dropdown(
                list(FROM_METADATA), value=list(USUALLY), multiselect=True, label="Of these", elem_id=parts.id("batch_png_info_props"),
                min_width=NARROW,
            )  # fmt: skip
    source.change(None, source, section, js=tick)
    return BatchSection(controls)


def spread_over_batch(app: App) -> Spread:
    """What makes of one wish one for each picture of the batch, all with the same seed, as A1111."""

    def spread(values: Mapping[str, Any], wish: Wish) -> tuple[Sequence[Wish], Sequence[str]]:
        source = values.get("batch_source")
        if not source:
            return [wish], ()
        remarks: list[str] = []
        pictures = list(_uploaded(app, values) if source == UPLOADED else _of_folder(app, values, remarks))
        if not pictures:
            raise InvalidRequest(" ".join(["There is no picture to draw from.", *remarks]))
        scale = values.get("resize_scale") if values.get("resize_kind") == RESIZE_BY else None
        seeded = replace(wish, request=wish.request.with_real_seed())
        return [_wish_for(seeded, picture, scale) for picture in pictures], remarks

    return spread


def _wish_for(wish: Wish, picture: BatchPicture, scale: Any) -> Wish:
    sides = outpainted_size(picture.width, picture.height, dict(wish.request))
    size = {} if scale is None else scaled_size(*sides, scale)
    changes = dict(picture.changes)
    for name in ("prompt", "negative_prompt"):
        if name in changes:
            changes[name] = " ".join(filter(None, (getattr(wish.request, name), changes[name])))
    request = wish.request.changed(**changes, **size, init_images=(picture.picture,), mask=picture.mask)
    return replace(wish, request=request)


def _uploaded(app: App, values: Mapping[str, Any]) -> Iterator[BatchPicture]:
    kept = values.get("batch_files")
    files = kept.get("files") if isinstance(kept, dict) else None
    if not isinstance(files, list) or not files:
        raise InvalidRequest("Batch: no file is chosen. Choose pictures, or draw from the one above.")
    _check_count(len(files))
    for file in files:
        if not isinstance(file, dict) or not isinstance(file.get("width"), int) or not isinstance(file.get("height"), int):
            raise InvalidRequest("Batch: the list of uploaded pictures cannot be read. Choose them again.")
        changes = _changes_of(app, str(file.get("infotext", "")), values)
        yield BatchPicture(str(file.get("name", ""))[:200], str(file.get("picture", "")), file["width"], file["height"], changes=changes)


def _of_folder(app: App, values: Mapping[str, Any], remarks: list[str]) -> Iterator[BatchPicture]:
    roots = (app.paths.inputs, app.paths.outputs)
    files = pictures_in(find_folder(str(values.get("batch_folder") or ""), roots, base=app.paths.data))
    _check_count(len(files))
    masks_named = str(values.get("batch_masks") or "").strip()
    masks = pictures_in(find_folder(masks_named, roots, base=app.paths.data)) if masks_named else None
    for file in files:
        mask = _mask_for(file, masks) if masks is not None else None
        if masks is not None and mask is None:
            remarks.append(f"{file.name} is left out: there is no mask of that name.")
            continue
        try:
            stored = _store(app, read_picture_file(file))
            mask_name = _store(app, read_picture_file(mask))["picture"] if mask else ""
        except WebuiError as error:
            remarks.append(f"{file.name} is left out: {error}")
            continue
        changes = _changes_of(app, stored["infotext"], values)
        yield BatchPicture(file.name, stored["picture"], stored["width"], stored["height"], mask_name, changes)


def _mask_for(file: Path, masks: Sequence[Path]) -> Path | None:
    return masks[0] if len(masks) == 1 else next((mask for mask in masks if mask.stem == file.stem), None)


def _store(app: App, data: bytes) -> dict[str, Any]:
    image = decode_image(data)
    infotext = read_metadata(data).infotext[:INFOTEXT_SHOWN]
    return {"picture": app.queue.inputs.add(image), "width": image.width, "height": image.height, "infotext": infotext}


def _changes_of(app: App, infotext: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """What a picture's infotext says of the wanted parameters."""
    if not values.get("batch_metadata") or not infotext:
        return {}
    found = app.read_paste(infotext[:INFOTEXT_SHOWN]).request_changes
    wanted = [name for key in read_names(values.get("batch_metadata_of")) for name in FROM_METADATA.get(key, ())]
    return {name: found[name] for name in wanted if name in found}


def _check_count(count: int) -> None:
    if count > MAX_PICTURES:
        raise InvalidRequest(f"Batch: got {count} pictures; at most {MAX_PICTURES} go into the queue at once. Take fewer.")

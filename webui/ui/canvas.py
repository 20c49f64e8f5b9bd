"""The editor of a picture to start from: its mask, or the colours painted into it. What is drawn, the page's script knows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from webui.app import App
from webui.core.errors import InvalidRequest, WebuiError
from webui.core.images import MAX_PIXELS, decode_image
from webui.ui.paste import uploaded_picture

_HASH = re.compile("[0-9a-f]{64}")
_KEYS = frozenset({"picture", "mask", "width", "height"})
# Where strokes were painted: the picture before them, and they alone, so that they can still be removed after a reload.
_PAINTED_KEYS = frozenset({"original", "paint"})
# A mask with transparency is read by it, as A1111 does; else by its brightness. Half and less is kept.
_HALF = 128


def build_canvas(app: App, elem_id: str, *, mask: bool = False, colours: bool = False, label: str) -> gr.HTML:
    """Lay an editor out. Its value is None, or {"picture": hash, "mask": hash or "", "width": pixels, "height": pixels}.

    mask: strokes mark what is to be repainted.   colours: strokes are painted into the picture; the value has "original" and
    "paint" too, while there are any. With both, what is painted is marked as well.   label: names the editor for screen readers.
    """

    def store_picture(upload: Any) -> dict[str, Any]:
        return _told(lambda: _store_picture(app, upload))

    def store_mask(upload: Any) -> dict[str, Any]:
        return _told(lambda: _store_mask(app, upload))

    def store_paint(upload: Any) -> dict[str, Any]:
        return _told(lambda: _store_paint(app, upload))

    kind = json.dumps({"id": elem_id, "mask": mask, "colours": colours, "label": label}).replace("<", "\\u003c")
    return gr.HTML(
        value=None, html_template='<section class="canvas"></section>', elem_id=elem_id, elem_classes="canvas-block", label=label,
        server_functions=[store_picture, store_mask, store_paint],
        js_on_load=f"window.webui.addCanvas(element, props, server, watch, {kind})", apply_default_css=False,
    )  # fmt: skip


def read_canvas(value: Any) -> dict[str, Any]:
    """An editor's value as request parameters: init_images and mask; nothing for an empty one.  Raises InvalidRequest."""
    if value is None or value == "":  # gradio's page has "" for None
        return {}
    if not isinstance(value, dict) or not _KEYS <= set(value) <= _KEYS | _PAINTED_KEYS:
        raise InvalidRequest(
            f"The picture editor sent {value!r:.200}; it must be picture, mask, width and height. Choose the picture again."
        )
    for name in ("picture", *(("mask",) if value["mask"] != "" else ())):
        if not isinstance(value[name], str) or not _HASH.fullmatch(value[name]):
            raise InvalidRequest(
                f"The picture editor's {name} is {value[name]!r:.80}, which is no stored picture. Choose the picture again."
            )
    _read_size(value)
    return {"init_images": (value["picture"],), "mask": value["mask"]}


def _told(store: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return store()
    except WebuiError as error:
        return {"error": str(error)}


def _store_picture(app: App, upload: Any) -> dict[str, Any]:
    image = decode_image(uploaded_picture(upload))
    return {"picture": app.queue.inputs.add(image), "width": image.width, "height": image.height}


def _store_mask(app: App, upload: Any) -> dict[str, Any]:
    """Any picture as a mask of black and white, at the size that is asked for; "" when nothing in it is white."""
    data = uploaded_picture(upload)
    width, height = _read_size(upload.data)
    mask = _in_black_and_white(decode_image(data))
    given = mask.size
    if given != (width, height):
        mask = mask.resize((width, height), Image.Resampling.NEAREST)
    return {"mask": app.queue.inputs.add(mask) if mask.getbbox() else "", "given": list(given)}


def _in_black_and_white(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits of grey, which Pillow would cut off at 255
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode == "P" or "transparency" in image.info:
        image = image.convert("RGBA")
    alpha = image.getchannel("A") if "A" in image.getbands() else None
    grey = alpha if alpha and alpha.getextrema() != (255, 255) else image.convert("L")
    return grey.point(lambda value: 255 if value > _HALF else 0)


def _store_paint(app: App, upload: Any) -> dict[str, Any]:
    """Strokes, transparent where there are none, painted into a stored picture; transparency of the picture stays beside them."""
    paint = decode_image(uploaded_picture(upload)).convert("RGBA")
    original = decode_image(app.queue.inputs.read(str(upload.data.get("original"))))
    if paint.size != original.size:
        raise InvalidRequest(f"The strokes have {paint.width}x{paint.height} pixels, the picture {original.width}x{original.height}.")
    painted = original.convert("RGBA" if original.mode == "RGBA" else "RGB")
    painted.paste(paint.convert(painted.mode), mask=paint.getchannel("A"))
    return {"picture": app.queue.inputs.add(painted), "paint": app.queue.inputs.add(paint)}


def _read_size(given: Mapping[str, Any]) -> tuple[int, int]:
    try:
        width, height = int(given["width"]), int(given["height"])
    except (KeyError, TypeError, ValueError, OverflowError):
        width = height = 0
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise InvalidRequest(f"The picture editor sent a size that no picture has. At most {MAX_PIXELS} pixels are accepted.")
    return width, height

"""The picture that a tab starts from: its editor, how it comes to size, and how large the result becomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from webui.app import App
from webui.core.errors import InvalidRequest
from webui.ui.canvas import build_canvas, read_canvas
from webui.ui.describe import build_describe
from webui.ui.quicksettings import icon_button
from webui.ui.tab_parts import Parts

PICTURE = "picture"
RESIZE_TO, RESIZE_BY = "Resize to", "Resize by"
SMALLEST_SCALE, LARGEST_SCALE = 0.05, 4.0
BLOCK = 8
# The tabs with an editor, between which pictures are copied.
PICTURE_TABS = ("img2img", "inpaint", "depth2img")
OUTPAINT = ("outpaint_left", "outpaint_right", "outpaint_up", "outpaint_down")
WHOLE_PICTURE = "Whole picture"
# New canvas counts where the whole picture is drawn; with only the masked part, the size is that of the part.
NEW_CANVAS = "const sides = area === 'Whole picture' ? amounts : undefined;"
SIZE_IN_LABEL = f"""(picture, scale, area, ...amounts) => {{
    if (!picture?.width) return {{__type__: 'update', label: 'Scale'}};
    {NEW_CANVAS}
    const [left, right, up, down] = (sides ?? [0, 0, 0, 0]).map((amount) => amount ?? 0);
    const width = picture.width + left + right, height = picture.height + up + down;
    const side = (pixels) => Math.floor(Math.trunc(pixels * scale) / 8) * 8;
    const label = `Scale: from ${{width}}x${{height}} to ${{side(width)}}x${{side(height)}}`;
    return {{__type__: 'update', label}};
}}"""
SIZE_OF_PICTURE = f"""(picture, width, height, area, ...amounts) => {{
    {NEW_CANVAS}
    return picture?.width ? window.webui.sizeFor(picture, sides) : [width, height];
}}"""


@dataclass(frozen=True)
class PictureSection:
    """The editor.  wants_mask: what to say when nothing is masked; None where a mask is not needed."""

    canvas: Component
    wants_mask: str | None = None

    @property
    def controls(self) -> Mapping[str, Component]:
        """The editor alone."""
        return {PICTURE: self.canvas}

    def read(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """init_images, and mask where one is drawn.  Raises InvalidRequest without a picture, unless a batch brings its own."""
        if values.get("batch_source"):
            return {}
        drawn = stored_picture(values)
        if self.wants_mask and not drawn.get("mask") and not any(values.get(side) for side in OUTPAINT):
            raise InvalidRequest(self.wants_mask)
        return drawn


@dataclass(frozen=True)
class SizeSection:
    """Whether the size is given or follows from the picture's."""

    kind: Component
    scale: Component

    @property
    def controls(self) -> Mapping[str, Component]:
        """Which, and the factor."""
        return {"resize_kind": self.kind, "resize_scale": self.scale}

    def read(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """width and height, where they follow from the picture."""
        picture = values.get(PICTURE)
        if values.get("resize_kind") != RESIZE_BY or not isinstance(picture, dict) or values.get("batch_source"):
            return {}
        sides = outpainted_size(picture.get("width"), picture.get("height"), values)
        return scaled_size(*sides, values.get("resize_scale"))


def stored_picture(values: Mapping[str, Any]) -> dict[str, Any]:
    """What the editor holds, as request parameters.  Raises InvalidRequest when that is nothing, or could not be stored."""
    value = values.get(PICTURE)
    if isinstance(value, dict) and value.get("error"):
        raise InvalidRequest(f"The picture could not be sent: {str(value['error'])[:500]}")
    drawn = read_canvas(value)
    if not drawn:
        raise InvalidRequest("There is no picture to start from. Load one into the editor: choose a file, drop it there, or send a result.")
    return {name: one for name, one in drawn.items() if one}


def outpainted_size(width: Any, height: Any, values: Mapping[str, Any]) -> tuple[Any, Any]:
    """A picture's sides with the new canvas that is asked for, where the whole of it is drawn; as they came when they are no numbers."""
    amounts = [values.get(side) or 0 for side in OUTPAINT]
    is_whole = values.get("inpaint_area") == WHOLE_PICTURE
    if not is_whole or not all(isinstance(one, int) for one in (width, height, *amounts)):
        return width, height
    left, right, up, down = amounts
    return width + left + right, height + up + down


def scaled_size(width: Any, height: Any, scale: Any) -> dict[str, int]:
    """The picture's sides by a factor, in whole blocks of 8 pixels, as A1111 cuts them.  Raises InvalidRequest."""
    if not isinstance(scale, int | float) or not SMALLEST_SCALE <= scale <= LARGEST_SCALE:
        raise InvalidRequest(f"Resize by: got {scale!r}; give a factor from {SMALLEST_SCALE} to {LARGEST_SCALE:g}.")
    if not isinstance(width, int) or not isinstance(height, int):
        raise InvalidRequest("Resize by: the picture's size is not known. Load the picture again.")
    return {"width": int(width * scale) // BLOCK * BLOCK, "height": int(height * scale) // BLOCK * BLOCK}


def build_picture(app: App, parts: Parts, *, mask: bool = False, colours: bool = False, wants_mask: str | None = None) -> PictureSection:
    """Lay the editor out, and the buttons that take its picture to other tabs."""
    elem_id = parts.id("image")
    canvas = build_canvas(app, elem_id, mask=mask, colours=colours, label=f"Picture for {parts.tab}")
    parts.canvases[PICTURE] = elem_id
    with gr.Row(elem_classes="copy-row"):
        gr.HTML('<span class="copy-label">Copy picture to</span>', apply_default_css=False, elem_classes="copy-text")
        for other in PICTURE_TABS:
            if other != parts.tab:
                button = gr.Button(other, elem_id=parts.id(f"copy_to_{other}"), size="sm", scale=0, min_width=80)
                button.click(None, None, None, js=f"() => window.webui.copyToEditor({parts.tab!r}, {other!r})")
        build_describe(app, parts)
    parts.picture = canvas
    return PictureSection(canvas, wants_mask)


def build_picture_size(parts: Parts) -> tuple[SizeSection]:
    """Lay out how large the result becomes: given, or by a factor."""
    kind = gr.Radio(
        [RESIZE_TO, RESIZE_BY],
        value=RESIZE_TO,
        label="Size",
        show_label=False,
        container=False,
        elem_id=parts.id("resize"),
        elem_classes="resize-kind",
    )
    with gr.Row(elem_id=parts.id("size"), elem_classes=["with-button", "size-row", "resize-to"]):
        with gr.Column(min_width=200):
            parts.add("width", "height")
        with gr.Column(scale=0, min_width=40, elem_classes="size-buttons"):
            icon_button("Swap width and height", "swap", parts.id("res_switch_btn"))
            detect = icon_button("Take over the picture's size", "ruler", parts.id("detect_image_size_btn"))
    scale = gr.Slider(
        SMALLEST_SCALE, LARGEST_SCALE, value=1.0, step=0.05, label="Scale", buttons=[], elem_id=parts.id("scale"), elem_classes="resize-by"
    )
    assert parts.picture is not None
    sizes = [parts.fields["width"], parts.fields["height"]]
    canvas_controls = [parts.fields[name] for name in ("inpaint_area", *OUTPAINT) if name in parts.fields]
    detect.click(None, [parts.picture, *sizes, *canvas_controls], sizes, js=SIZE_OF_PICTURE)
    if canvas_controls:
        # By hand only: a pasted form brings its size along.
        gr.on(
            [control.input for control in canvas_controls[1:]], None, [parts.picture, *sizes, *canvas_controls], sizes, js=SIZE_OF_PICTURE
        )
    watched = [control.change for control in (parts.picture, scale, *canvas_controls)]
    gr.on(watched, None, [parts.picture, scale, *canvas_controls], scale, js=SIZE_IN_LABEL)
    return (SizeSection(kind, scale),)

"""The wire names of the extras routes and ours. Pure functions; no HTTP."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from webui.api.schemas import ExtrasOptions, PostprocessorInfo, UpscalerItem
from webui.api.scripts import write_argument
from webui.core.declared import declared_model
from webui.core.errors import InvalidRequest
from webui.core.extension_points import NewPostprocessor
from webui.core.extras import RESIZE_MODES, ExtrasRequest, SourcePicture, read_extras
from webui.core.parameters import parameters_of
from webui.core.upscalers import Upscaler


def read_extras_options(wire: ExtrasOptions, pictures: Sequence[SourcePicture]) -> ExtrasRequest:
    """What the client asks for these pictures.  Raises InvalidRequest, in the wire's names."""
    if not 0 <= wire.resize_mode < len(RESIZE_MODES):
        raise InvalidRequest(f"resize_mode: got {wire.resize_mode}; it is 0 to scale by upscaling_resize, 1 to scale to a size.")
    declared = parameters_of(ExtrasRequest)
    values: dict[str, Any] = {
        name: getattr(wire, one.api) for name, one in declared.items() if one.api in ExtrasOptions.model_fields and name != "resize_mode"
    }
    steps = [{"name": one.name, "values": one.args} for one in wire.postprocessors]
    try:
        return read_extras({**values, "steps": steps, "resize_mode": RESIZE_MODES[wire.resize_mode], "pictures": pictures})
    except InvalidRequest as error:
        message = str(error)
        for name, one in declared.items():
            message = message.replace(f"{name}: got", f"{one.api}: got")
        raise InvalidRequest(message) from None


def write_postprocessor(one: NewPostprocessor) -> PostprocessorInfo:
    """One line of /api/v1/postprocessors."""
    declared = parameters_of(declared_model(one.name, one.controls))
    args = {name: write_argument(each, each.choices) for name, each in declared.items()}
    return PostprocessorInfo(name=one.name, order=one.order, args=args)


def write_html_info(infotext: str) -> str:
    """A1111's `html_info`."""
    return f"<p>{'<br>'.join(html.escape(line) for line in infotext.splitlines())}</p>"


def write_upscaler(upscaler: Upscaler) -> UpscalerItem:
    """One line of /sdapi/v1/upscalers."""
    path = upscaler.path
    return UpscalerItem(
        name=upscaler.name, model_name=path.stem if path else None, model_path=str(path) if path else None, scale=upscaler.scale
    )

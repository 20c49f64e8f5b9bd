"""sd-webui-controlnet's own routes: which models and preprocessors there are, and preprocessors at work."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field

from webui.api.picture_urls import fetch_picture
from webui.app import App
from webui.core.errors import InvalidRequest, UnknownName
from webui.core.images import decode_base64_image, encode_png, image_to_base64
from webui.core.ports import AnnotationOptions
from webui.core.preprocessors import CONTROL_TYPES, NONE, Preprocessor, find_preprocessor
from webui.core.request_parts.control import NO_MODEL

# The version of the extension's API whose answers these are.
API_VERSION = 3
MAX_PICTURES = 64


class DetectRequest(BaseModel):
    """What /controlnet/detect accepts.  Pictures and masks are base64 of picture files."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    controlnet_module: str = NONE
    controlnet_input_images: list[str] = Field(default_factory=list, max_length=MAX_PICTURES)
    # The name that an often used client (webuiapi) has for the same.
    controlnet_images: list[str] = Field(default_factory=list, max_length=MAX_PICTURES)
    controlnet_processor_res: float = -1
    controlnet_threshold_a: float = -1
    controlnet_threshold_b: float = -1
    controlnet_masks: list[str] = Field(default_factory=list, max_length=MAX_PICTURES)
    low_vram: bool = False


class ControlNetRoutes:
    """The handlers under /controlnet."""

    def __init__(self, app: App) -> None:
        self._app = app

    def add_routes(self, server: FastAPI) -> None:
        """Put the handlers under the extension's paths."""
        for path, handler in (
            ("version", self.version),
            ("model_list", self.models),
            ("module_list", self.modules),
            ("control_types", self.control_types),
            ("settings", self.settings),
        ):
            server.add_api_route(f"/controlnet/{path}", handler, methods=["GET"], tags=["controlnet"])
        server.add_api_route("/controlnet/detect", self.detect, methods=["POST"], tags=["controlnet"])

    def version(self) -> dict[str, int]:
        """Of the API."""
        return {"version": API_VERSION}

    def models(self, update: bool = True) -> dict[str, list[str]]:
        """Control models by title.  update: look into the folders again."""
        if update:
            self._app.catalog.refresh()
        return {"model_list": [file.title for file in self._app.catalog.controls().files]}

    def modules(self, alias_names: bool = False) -> dict[str, Any]:
        """Preprocessors and their numbers.  alias_names: by the names that the page shows."""
        names = {(one.label if alias_names else one.name): one for one in self._app.preprocessors}
        return {"module_list": list(names), "module_detail": {name: _detail(one) for name, one in names.items()}}

    def control_types(self) -> dict[str, Any]:
        """What goes together."""
        titles = [file.title for file in self._app.catalog.controls().files]
        return {"control_types": {kind: _control_type(kind, titles, self._app.preprocessors) for kind in CONTROL_TYPES}}

    def settings(self) -> dict[str, int]:
        """How many units the page shows."""
        return {"control_net_unit_count": self._app.settings.snapshot().control_net_unit_count}

    def detect(self, wire: DetectRequest) -> dict[str, Any]:
        """What a preprocessor makes of pictures."""
        preprocessor = _find_module(wire.controlnet_module)
        sent = wire.controlnet_input_images or wire.controlnet_images
        if not sent:
            raise InvalidRequest("controlnet_input_images: No image selected. Send at least one.")
        if preprocessor.takes_mask and len(wire.controlnet_masks) != len(sent):
            raise InvalidRequest(f"controlnet_masks: {preprocessor.label} needs one for each picture.")
        given = (wire.controlnet_processor_res, wire.controlnet_threshold_a, wire.controlnet_threshold_b)
        resolution, a, b = (
            value if slider and slider.holds(value) else -1 for value, slider in zip(given, preprocessor.sliders, strict=True)
        )
        options = AnnotationOptions(int(resolution), a, b)
        settings = self._app.settings.snapshot()
        pictures = [decode_base64_image(fetch_picture(one, settings)) for one in sent]
        made = [self._app.engine.annotate(preprocessor.name, picture, options) for picture in pictures]
        return {"info": "Success", "images": [image_to_base64(encode_png(one, {})) for one in made]}


def _find_module(name: str) -> Preprocessor:
    try:
        return find_preprocessor(name)
    except UnknownName as error:
        raise InvalidRequest(f"controlnet_module: Module not available. {error}") from None


def _detail(preprocessor: Preprocessor) -> dict[str, Any]:
    """model_free: works without a control model, which none here does."""
    sliders = [slider for slider in preprocessor.sliders if slider]
    return {
        "model_free": False,
        "sliders": [{"name": one.label, "value": one.value, "min": one.minimum, "max": one.maximum, "step": one.step} for one in sliders],
    }


def _control_type(kind: str, titles: Sequence[str], preprocessors: Sequence[Preprocessor]) -> dict[str, Any]:
    modules = [one for one in preprocessors if kind in ("All", *one.types) or one.name == NONE]
    fitting = [title for title in titles if kind == "All" or _mentions(title, kind)]
    return {
        "module_list": [one.label for one in modules],
        "model_list": [NO_MODEL, *(fitting or titles)],
        "default_option": NONE if kind == "All" else next((one.label for one in modules[1:] if one.name != "invert"), NONE),
        "default_model": NO_MODEL if kind == "All" or not fitting else fitting[0],
    }


def _mentions(title: str, kind: str) -> bool:
    """Whether a model's name says that it is for this type."""
    words: Iterable[str] = {"NormalMap": ("normal",), "SoftEdge": ("softedge", "hed"), "Sketch": ("sketch", "scribble")}.get(
        kind, (kind.lower(),)
    )
    return any(word in title.lower() for word in words)

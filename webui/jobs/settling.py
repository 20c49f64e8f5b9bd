"""A request made concrete: every model and file that it names found, under the name it has here. Jobs and each part of a script's alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from webui.catalog.catalog import Catalog
from webui.core.request import GenerationRequest
from webui.core.settings import Settings
from webui.core.upscalers import LATENT_UPSCALERS, NO_UPSCALER
from webui.jobs.controls import depth_by_control, settle_controls


def settle(request: GenerationRequest, settings: Settings, catalog: Catalog) -> tuple[GenerationRequest, tuple[str, ...]]:
    """The request as it will be drawn, and what the user should know.

    Raises UnknownName with the nearest names, NotFound or InvalidRequest for what is not there or cannot be used.
    """
    asked = request.checkpoint
    checkpoint = catalog.find_checkpoint(asked or settings.sd_model_checkpoint, closest=bool(asked))
    vae = request.vae or settings.sd_vae
    catalog.find_vae(vae, checkpoint)
    request, of_depth = depth_by_control(request, checkpoint, catalog)
    request, of_units = settle_controls(request, checkpoint, catalog)
    successors = {"refiner_checkpoint": request.refiner_checkpoint, "hr_checkpoint": request.hr_checkpoint if request.enable_hr else ""}
    found = {field: catalog.find_checkpoint(name).name if name else "" for field, name in successors.items()}
    request = request.changed(checkpoint=checkpoint.name, vae=vae, **found)
    return _with_upscaler(request, settings, catalog), (*of_depth, *of_units)


def _with_upscaler(request: GenerationRequest, settings: Settings, catalog: Catalog) -> GenerationRequest:
    if settings.upscaler_for_img2img != NO_UPSCALER and request.init_images:
        catalog.upscalers.find(settings.upscaler_for_img2img)
    if settings.face_restoration:
        catalog.face_files([settings.face_restoration_model])
    if not request.enable_hr or request.hr_upscaler in LATENT_UPSCALERS:
        return request
    return request.changed(hr_upscaler=catalog.upscalers.find(request.hr_upscaler).name)


def name_models(changes: Mapping[str, Any], catalog: Catalog) -> dict[str, Any]:
    """Changes of settings with models by file name, which stays true when a file is replaced, as a title with a hash does not.

    Raises WebuiError for a model that is not there.
    """
    named = dict(changes)
    checkpoint, vae = changes.get("sd_model_checkpoint"), changes.get("sd_vae")
    if isinstance(checkpoint, str) and checkpoint.strip():
        named["sd_model_checkpoint"] = catalog.find_checkpoint(checkpoint).name
    if vae == "":
        named["sd_vae"] = "Automatic"
    elif isinstance(vae, str) and vae not in ("Automatic", "None"):
        found = catalog.find_vae(vae, catalog.find_checkpoint(named.get("sd_model_checkpoint", "")))
        named["sd_vae"] = found.name if found else vae
    return named

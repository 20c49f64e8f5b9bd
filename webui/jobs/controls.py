"""Which files the ControlNet units of a job name, and the units as they are queued."""

from __future__ import annotations

from pathlib import Path

from webui.catalog.catalog import Catalog, Checkpoint
from webui.catalog.controls import ControlFile, check_fit
from webui.core.control import settle
from webui.core.errors import InvalidRequest, NotFound, UnknownName
from webui.core.preprocessors import NONE, find_preprocessor
from webui.core.request import GenerationRequest
from webui.core.request_parts.control import NO_MODEL, ControlUnit
from webui.core.request_parts.depth import NO_DEPTH

DEPTH_FAMILIES = frozenset({"sd1-depth", "sd2-depth"})
READ_AS_IT_IS = (
    "Near, far and inverting an estimate act with depth checkpoints; here a depth ControlNet reads the depth as its preprocessor makes it."
)
DEPTH_PREPROCESSOR, INVERT = "depth_midas", "invert"


def settle_controls(request: GenerationRequest, checkpoint: Checkpoint, catalog: Catalog) -> tuple[GenerationRequest, tuple[str, ...]]:
    """The request with its units made concrete (models by title, numbers as they will act), and what the user should know.

    Idle units stay as they are. Raises InvalidRequest, naming the unit, for one that lacks a picture, a mask or a model, or whose model
    does not fit the checkpoint; NotFound where there is no control model at all.
    """
    units: list[ControlUnit] = list(request.control_units)
    remarks: list[str] = []
    for number, unit in request.active_units:
        _check_pictures(request, unit, number)
        if unit.model == NO_MODEL:
            raise InvalidRequest(f"ControlNet {number}: it has no model. Choose one, or switch the unit off.")
        control = _find(unit.model, catalog)
        check_fit(control, checkpoint.name, checkpoint.identity.family)
        settled, notes = settle(unit, number)
        units[number] = settled.model_copy(update={"model": control.title})
        remarks += notes
    return (request.changed(control_units=units) if units else request), tuple(remarks)


def depth_by_control(request: GenerationRequest, checkpoint: Checkpoint, catalog: Catalog) -> tuple[GenerationRequest, tuple[str, ...]]:
    """A request that is to keep a depth, for a checkpoint that cannot see one: a depth ControlNet does it then.

    The map that was given is followed, else the preprocessor estimates one. Raises InvalidRequest where there is no such ControlNet.
    """
    family = checkpoint.identity.family
    if not request.use_depth or family in DEPTH_FAMILIES:
        return request, ()
    base = family.partition("-")[0]
    found = next((file for file in catalog.controls().files if "depth" in file.called.lower() and file.base in ("", base)), None)
    if found is None:
        raise InvalidRequest(NO_DEPTH)
    module = DEPTH_PREPROCESSOR if not request.depth_map else INVERT if request.depth_invert else NONE
    unit = ControlUnit(enabled=True, module=module, model=found.title, image=request.depth_map)
    is_read_otherwise = (request.depth_near, request.depth_far) != (1.0, 0.0) or (request.depth_invert and not request.depth_map)
    remarks = (READ_AS_IT_IS,) if is_read_otherwise else ()
    return request.changed(use_depth=False, control_units=(*request.control_units, unit)), remarks


def find_controls(request: GenerationRequest, catalog: Catalog) -> dict[str, Path]:
    """The files of the models that the units name, by name.  Raises as `settle_controls`, when one has gone since."""
    return {unit.model: catalog.controls().find(unit.model).path for _, unit in request.active_units}


def _find(name: str, catalog: Catalog) -> ControlFile:
    """What is not there is looked for in the folders once more: files are often added while the program runs."""
    try:
        return catalog.controls().find(name)
    except (UnknownName, NotFound):
        catalog.refresh()
        return catalog.controls().find(name)


def _check_pictures(request: GenerationRequest, unit: ControlUnit, number: int) -> None:
    if not unit.image and not request.init_images:
        raise InvalidRequest(f"ControlNet {number}: it has no picture to follow. Give it one, or switch the unit off.")
    has_mask = bool(unit.mask or (request.mask and not unit.image))
    if find_preprocessor(unit.module).takes_mask and not has_mask:
        raise InvalidRequest(f"ControlNet {number}: {unit.module} needs a mask, white where it is to draw. Give the unit one, or inpaint.")

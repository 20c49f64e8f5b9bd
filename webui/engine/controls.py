"""The ControlNet units of one pass: which of them act on a picture at a call, and how strongly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from webui.core.preprocessors import find_preprocessor
from webui.core.request import GenerationRequest
from webui.core.request_parts.control import CONTROL_MODES, HIRES_OPTIONS, ControlUnit
from webui.engine.adapters.controlnet import Control, scales_of
from webui.engine.control_pictures import ControlPicture
from webui.engine.pipeline_manager import Pipeline

BALANCED, _, CONTROL_FIRST = CONTROL_MODES
_, LOW_ONLY, HIGH_ONLY = HIRES_OPTIONS
ControlPictures = Mapping[tuple[int, str], ControlPicture]


@dataclass(frozen=True)
class PlacedUnit:
    """A unit in one pass.  start, end: of the steps, 0..1.   spares_negative: the negative prompt does not follow it.

    controls: for each picture of the batch.
    """

    start: float
    end: float
    spares_negative: bool
    controls: tuple[Control, ...]


@dataclass(frozen=True)
class PassControls:
    """All units of one pass, in their order."""

    units: tuple[PlacedUnit, ...] = ()

    def at(self, picture: int, call: int, calls: int, *, is_negative: bool) -> tuple[Control, ...]:
        """What acts on a picture's row.  call: denoiser calls made before, of `calls` in all.

        As in diffusers, a unit acts in the calls that lie wholly between its start and its end.
        """
        return tuple(
            unit.controls[picture]
            for unit in self.units
            if unit.start <= call / calls and min(1.0, (call + 1) / calls) <= unit.end and not (is_negative and unit.spares_negative)
        )


NO_CONTROLS = PassControls()


def place_controls(
    alone: Sequence[GenerationRequest],
    pictures: ControlPictures,
    files: Mapping[str, Path],
    pipeline: Pipeline,
    size: tuple[int, int],
    *,
    is_second: bool,
) -> PassControls:
    """alone: the requests of the batch's pictures.   pictures: by unit and source.   files: of the control models, by name.
    size: (h, w) of the latents.   is_second: a hires fix's second pass.
    """
    units = []
    for number, unit in alone[0].active_units:
        if unit.weight == 0 or unit.hr_option == (LOW_ONLY if is_second else HIGH_ONLY if alone[0].enable_hr else None):
            continue
        model = pipeline.controls[files[unit.model]]
        pixels = 2 ** (len(model.config["conditioning_embedding_out_channels"]) - 1)
        is_soft = unit.control_mode != BALANCED or (is_second and find_preprocessor(unit.module).softer_in_hires)
        scales = scales_of(model, unit.weight, is_soft=is_soft)
        sources = [_source(unit, one) for one in alone]
        device = pipeline.device
        hints = {
            source: pictures[number, source].hint(size[1] * pixels, size[0] * pixels).to(device.torch, device.dtype)
            for source in dict.fromkeys(sources)
        }
        spares = unit.control_mode == CONTROL_FIRST or bool(model.config["global_pool_conditions"])
        controls = tuple(Control(model, hints[source], scales) for source in sources)
        units.append(PlacedUnit(unit.guidance_start, unit.guidance_end, spares, controls))
    return PassControls(tuple(units))


def _source(unit: ControlUnit, one: GenerationRequest) -> str:
    return unit.image or one.init_images[0]

"""Loopback: draw from a picture, draw from what was drawn, and so on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

from webui.core.infotext import with_pairs
from webui.core.parameters import parameter
from webui.core.request import GenerationRequest
from webui.core.scripts import Desk, Draw, DrawingEnded, Give, Plan, Script, ScriptArguments, Shot, Steps
from webui.plugins.scripts.grids import Sheet, paste_grid

CURVES = ("Aggressive", "Linear", "Lazy")
# A1111's words, and who is meant.
DESCRIBERS: Mapping[str, str] = MappingProxyType({"CLIP": "clip", "DeepBooru": "deepdanbooru"})


class LoopbackArguments(ScriptArguments):
    """How often, and how the denoising strength changes on the way."""

    loops: int = parameter(
        4, title="Loops", help="How often to draw from the last picture.", minimum=1, maximum=100, step=1, slider=(1, 32)
    )
    final_denoising_strength: float = parameter(
        0.5, title="Final denoising strength", help="Of the last loop; the first has the request's.", minimum=0.0, maximum=1.0, step=0.01
    )
    denoising_curve: str = parameter(
        "Linear", title="Denoising strength curve", help="Aggressive: soon near the final strength. Lazy: late.", choices=CURVES
    )
    append_interrogation: str = parameter(
        "None", title="Append interrogated prompt", choices=("None", *DESCRIBERS),
        help="Before each loop, behind the prompt: what is on the picture that it begins with, as a sentence (CLIP) or as tags.",
    )  # fmt: skip


class Loopback(Script[LoopbackArguments]):
    """Each batch begins with the request's picture; each loop takes the next seed."""

    title = "Loopback"
    arguments = LoopbackArguments
    needs_picture = True

    def plan(self, request: GenerationRequest, arguments: LoopbackArguments, desk: Desk) -> Plan:
        """Batches of one picture each."""
        drawn = arguments.loops * request.batch_count
        return Plan(drawn, drawn, drawn, grids=int(request.batch_count > 1))

    def run(self, request: GenerationRequest, arguments: LoopbackArguments, desk: Desk) -> Steps:
        """A mask's content is filled in the first loop only: from then on it is in the picture."""
        finished: list[Shot] = []
        pairs = {
            "Final denoising strength": str(arguments.final_denoising_strength),
            "Denoising curve": arguments.denoising_curve,
        }
        current = request.changed(batch_count=1, batch_size=1, init_images=request.init_images[:1])
        try:
            for _ in range(request.batch_count):
                step = current.changed(init_images=request.init_images[:1], masked_content=request.masked_content)
                for loop in range(arguments.loops):
                    strength = denoising_of(loop, request.denoising_strength, arguments)
                    if who := DESCRIBERS.get(arguments.append_interrogation):
                        said = desk.describe(desk.open(step.init_images[0]), who)
                        step = step.changed(prompt=", ".join(filter(None, (request.prompt, said))))
                    (shot,) = yield Draw(step.changed(denoising_strength=strength), pairs=pairs)
                    step = step.changed(init_images=(desk.keep(shot.image),), masked_content="original", seed=_next(step.seed))
                finished.append(shot)
                current = current.changed(seed=step.seed)
        except DrawingEnded:
            if not finished:
                return
        if request.batch_count > 1:
            sheet = Sheet.of([[shot.image for shot in finished]])
            yield Give(paste_grid(sheet), with_pairs(finished[0].infotext, {"Script": self.title}), is_grid=True)


def denoising_of(loop: int, first: float, arguments: LoopbackArguments) -> float:
    """The strength of a loop, counted from 0: from the request's to the final one, along the curve."""
    if arguments.loops == 1:
        return first
    progress = loop / (arguments.loops - 1)
    if arguments.denoising_curve == "Aggressive":
        progress = math.sin(progress * math.pi / 2)
    elif arguments.denoising_curve == "Lazy":
        progress = 1 - math.cos(progress * math.pi / 2)
    return min(max(first + (arguments.final_denoising_strength - first) * progress, 0.0), 1.0)


def _next(seed: int) -> int:
    return (seed + 1) % 2**63

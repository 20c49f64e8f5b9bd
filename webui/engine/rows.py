"""What crosses between a story and the device loop: rows for the UNet, and its answers."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from webui.core.errors import ModelError
from webui.engine.adaptation import NO_CHANGE, Adaptation
from webui.engine.adapters.controlnet import Control, unet_additions
from webui.engine.pipeline_manager import Pipeline


@dataclass(frozen=True)
class Rows:
    """What the UNet is to be run on.

    x: (n, C, h, w), scaled for the model.   timestep: (n,).   context: (n, T, D).   pictures: whose rows they are, by their place
    in the batch.   adaptation: what the UNet is to wear.   vector: (n, V), what conditions beside the context; None for models that
    take nothing beside.   controls: the units that act on each row; () where none acts on any.
    """

    x: torch.Tensor
    timestep: torch.Tensor
    context: torch.Tensor
    pictures: tuple[int, ...]
    adaptation: Adaptation = NO_CHANGE
    vector: torch.Tensor | None = None
    controls: tuple[tuple[Control, ...], ...] = ()

    def __len__(self) -> int:
        return len(self.x)

    def part(self, first: int, last: int) -> Rows:
        """Rows from `first` up to `last`."""
        return replace(
            self,
            x=self.x[first:last],
            timestep=self.timestep[first:last],
            context=self.context[first:last],
            pictures=self.pictures[first:last],
            vector=None if self.vector is None else self.vector[first:last],
            controls=self.controls[first:last],
        )

    @property
    def kind(self) -> Hashable:
        """Equal for rows that can share a forward pass of one UNet."""
        return self.x.shape[1:], self.context.shape[1:], self.adaptation, None if self.vector is None else self.vector.shape[1:]


def joined(rows: Sequence[Rows]) -> Rows:
    """Rows of one kind as one."""
    vectors = [one.vector for one in rows if one.vector is not None]
    return Rows(
        torch.cat([one.x for one in rows]),
        torch.cat([one.timestep for one in rows]),
        torch.cat([one.context for one in rows]),
        tuple(picture for one in rows for picture in one.pictures),
        rows[0].adaptation,
        torch.cat(vectors) if vectors else None,
        tuple(own for one in rows for own in one.controls or ((),) * len(one)) if any(one.controls for one in rows) else (),
    )


def run_unet(pipeline: Pipeline, rows: Rows) -> torch.Tensor:
    """One forward pass: (n, C, h, w) in float32.  Raises ModelError when the rows have not the channels that the UNet takes."""
    wanted, given = int(pipeline.unet.config["in_channels"]), rows.x.shape[1]
    if wanted != given:
        raise ModelError(f"The checkpoint takes {wanted} channels, but this way of drawing gives it {given}. Choose another one.")
    pipeline.bring(pipeline.unet)
    pipeline.adapt(pipeline.unet, rows.adaptation)
    dtype = pipeline.device.dtype
    x, context = rows.x.to(dtype), rows.context.to(dtype)
    beside = pipeline.beside_context(rows.vector)
    additions: dict[str, Any] = {}
    if rows.controls:
        additions = unet_additions(rows.controls, x, rows.timestep, context, bring=pipeline.bring_beside, added=beside)
    output: torch.Tensor = pipeline.unet(x, rows.timestep, context, added_cond_kwargs=beside, return_dict=False, **additions)[0]
    return output.float()


@dataclass(frozen=True)
class UNetCall:
    """A wish to have the UNet run; the answer has one (n, C, h, w) float32 tensor for each of `rows`.

    model: whose UNet; None for that of the job's own checkpoint.
    """

    rows: tuple[Rows, ...]
    model: Pipeline | None = None


Answer = Sequence[torch.Tensor]

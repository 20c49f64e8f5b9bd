"""What one look into the model folders has found."""

from __future__ import annotations

from dataclasses import dataclass, field

from webui.catalog.adapters import Adapters
from webui.catalog.controls import Controls
from webui.catalog.identify import Identity
from webui.catalog.scan import Broken, ModelFile
from webui.catalog.upscalers import Upscalers


@dataclass(frozen=True)
class Checkpoint(ModelFile):
    """A checkpoint that can draw."""

    identity: Identity


@dataclass(frozen=True)
class Listing:
    """All models at one moment."""

    checkpoints: tuple[Checkpoint, ...] = ()
    vaes: tuple[ModelFile, ...] = ()
    broken: tuple[Broken, ...] = ()
    adapters: Adapters = field(default_factory=Adapters)
    controls: Controls = field(default_factory=Controls)
    upscalers: Upscalers = field(default_factory=Upscalers)

    @property
    def all_broken(self) -> tuple[Broken, ...]:
        """Of checkpoints and VAEs, then of adapters, control models and upscalers."""
        return self.broken + self.adapters.broken + self.controls.broken + self.upscalers.broken

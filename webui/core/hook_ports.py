"""What the jobs and the engine see of extensions: the shapes, and one without any for tests and benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from PIL.Image import Image

from webui.core.errors import UnknownName
from webui.core.extension_points import AddedPicture, Moment, NamedPatch, NewFamily, NewSampler, NewSchedule
from webui.core.request import GenerationRequest
from webui.core.result import GenerationResult, Picture
from webui.core.scripts import Script
from webui.core.settings import Settings


class Hooks(Protocol):
    """What extensions may hear and change of a job, outside the engine."""

    def begin(self, request: GenerationRequest, settings: Settings) -> GenerationRequest:
        """Called before a request's prompts get their styles."""
        ...

    def change_request(self, request: GenerationRequest) -> GenerationRequest:
        """Called once when a job is submitted; returns the request to queue."""
        ...

    def prepare(self, request: GenerationRequest, settings: Settings, styles: Sequence[str]) -> tuple[GenerationRequest, tuple[str, ...]]:
        """The request with its prompts as they will be drawn, these stored styles around them; and remarks.  Raises WebuiError."""
        ...

    def settle(self, request: GenerationRequest, settings: Settings) -> GenerationRequest:
        """Called when a request's prompts are as they will be drawn.  Raises UnknownName for a sampler that no extension adds."""
        ...

    def scripts(self) -> tuple[Script[Any], ...]:
        """Every script, in the order they are shown."""
        ...

    def find_script(self, title: str) -> Script[Any]:
        """The script of that title, whatever its case.  Raises UnknownName."""
        ...

    def knows_network(self, kind: str) -> bool:
        """Whether an extension follows tags <kind:...>."""
        ...

    def before_job(self, job_id: str, request: GenerationRequest) -> None:
        """Called when a job begins to be drawn."""
        ...

    def wants_batches(self, request: GenerationRequest) -> bool:
        """Whether somebody waits for whole batches of this job."""
        ...

    def after_batch(self, images: list[Image], request: GenerationRequest, batch: int, settings: Settings) -> list[Image]:
        """Called with the pictures of a drawn batch; as many others."""
        ...

    def after_image(self, image: Image, request: GenerationRequest, index: int, settings: Settings) -> tuple[Image, Mapping[str, str]]:
        """Called with a drawn picture; what is to be saved, and pairs for the text beside it."""
        ...

    def infotext_written(self, pairs: Mapping[str, str], request: GenerationRequest, index: int, settings: Settings) -> Mapping[str, str]:
        """Called before a picture is saved; the pairs that are to stand beside its parameters."""
        ...

    def recorded_settings(self, settings: Settings) -> Mapping[str, Any]:
        """Of the extensions' settings those that change pictures, by name."""
        ...

    def picture_saved(self, picture: Picture) -> None:
        """Called after a picture is on disk."""
        ...

    def postprocess(self, result: GenerationResult, settings: Settings) -> tuple[AddedPicture, ...]:
        """Called when all pictures of a job are drawn; further ones. Raises nothing."""
        ...

    def job_finished(self, job_id: str, result: GenerationResult) -> None:
        """Called when a job has ended with a result."""
        ...


class EngineHooks(Protocol):
    """What extensions may change while the engine draws. Tensors and models are the engine's, so they have no type here."""

    @property
    def watches_steps(self) -> bool:
        """Whether on_step does anything."""
        ...

    def before_batch(self, requests: tuple[GenerationRequest, ...], batch: int, settings: Settings) -> tuple[GenerationRequest, ...]:
        """Called before a batch; as many requests, to be drawn in their place."""
        ...

    def on_step(self, requests: tuple[GenerationRequest, ...], x: Any, denoised: Any, moment: Moment) -> Any:
        """Called with each denoised estimate (B, C, h, w) of x; what the sampler goes on with, of the same shape."""
        ...

    def guide(self, guidance: Any, request: GenerationRequest, settings: Settings) -> Any:
        """The guidance that a picture is to have."""
        ...

    def patches(self, request: GenerationRequest, settings: Settings) -> tuple[NamedPatch, ...]:
        """What is to change the job's UNet."""
        ...

    def find_sampler(self, name: str) -> NewSampler:
        """An added sampler.  Raises UnknownName."""
        ...

    def find_schedule(self, name: str) -> NewSchedule:
        """An added schedule.  Raises UnknownName."""
        ...

    def run(self, name: str, function: Callable[..., Any], /, **arguments: Any) -> Any:
        """What a function that an extension added under this name makes of those arguments that it takes."""
        ...

    def enlarge(self, name: str, image: Image, width: int, height: int) -> Image:
        """What an added upscaler makes of a picture.  Raises UnknownName."""
        ...

    def annotate(self, name: str, image: Image, resolution: int) -> Image:
        """What an added preprocessor makes of a picture.  Raises UnknownName."""
        ...

    def postprocess(self, name: str, image: Image, source: str, values: Mapping[str, Any], tell: Callable[[str], None]) -> Image:
        """What an added step of Extras makes of a picture.

        source: the name of its file.   tell: takes sentences for the user.   Raises UnknownName.
        """
        ...

    def families(self) -> tuple[NewFamily, ...]:
        """Added kinds of checkpoints."""
        ...


@dataclass(frozen=True)
class NoEngineHooks:
    """Of an engine without extensions."""

    watches_steps: bool = False

    def before_batch(self, requests: tuple[GenerationRequest, ...], batch: int, settings: Settings) -> tuple[GenerationRequest, ...]:
        """As they are."""
        return requests

    def on_step(self, requests: tuple[GenerationRequest, ...], x: Any, denoised: Any, moment: Moment) -> Any:
        """As it is."""
        return denoised

    def guide(self, guidance: Any, request: GenerationRequest, settings: Settings) -> Any:
        """As it is."""
        return guidance

    def patches(self, request: GenerationRequest, settings: Settings) -> tuple[NamedPatch, ...]:
        """None."""
        return ()

    def find_sampler(self, name: str) -> NewSampler:
        """None is there."""
        raise UnknownName("sampler", name, [])

    def find_schedule(self, name: str) -> NewSchedule:
        """None is there."""
        raise UnknownName("schedule type", name, [])

    def run(self, name: str, function: Callable[..., Any], /, **arguments: Any) -> Any:
        """Nothing is added, so nothing is run."""
        raise UnknownName("extension", name, [])

    def enlarge(self, name: str, image: Image, width: int, height: int) -> Image:
        """None is there."""
        raise UnknownName("upscaler", name, [])

    def annotate(self, name: str, image: Image, resolution: int) -> Image:
        """None is there."""
        raise UnknownName("preprocessor", name, [])

    def postprocess(self, name: str, image: Image, source: str, values: Mapping[str, Any], tell: Callable[[str], None]) -> Image:
        """None is there."""
        raise UnknownName("postprocessor", name, [])

    def families(self) -> tuple[NewFamily, ...]:
        """None."""
        return ()


NO_ENGINE_HOOKS = NoEngineHooks()

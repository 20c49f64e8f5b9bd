"""The hooks an extension may implement: functions marked @hookimpl that take any subset of a hook's named arguments.

docs/extensions.md shows each at work. A hook that raises InvalidRequest refuses the job with its words; whatever else it raises
fails the job with the extension's name, where a docstring says nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from PIL.Image import Image
from pluggy import HookimplMarker, HookspecMarker

from webui.core.extension_points import (
    Moment,
    NewFamily,
    NewPostprocessor,
    NewPreprocessor,
    NewSampler,
    NewSchedule,
    NewTab,
    NewUpscaler,
    Patch,
)
from webui.core.request import GenerationRequest
from webui.core.result import GenerationResult, Picture
from webui.core.settings import Settings

PROJECT = "webui"

hookspec = HookspecMarker(PROJECT)
hookimpl = HookimplMarker(PROJECT)


@hookspec
def startup(app: Any) -> None:
    """Called once when the program is built and before it takes jobs. Raising is logged, and the program starts.

    app: the whole program (webui.app.App): `submit` queues a job, `settings.snapshot()` are the settings, `paths` its folders.
    """


@hookspec
def shutdown() -> None:
    """Called once when the program ends. Raising is logged."""


@hookspec
def register_scripts() -> Sequence[Any] | None:
    """Scripts, each an object: of webui.plugins.script.Script, or of webui.core.scripts.Script. Their titles are their names."""


@hookspec
def register_settings() -> Mapping[str, Any] | None:
    """Settings by name, each declared with `webui.core.parameters.parameter`. They are in `settings.extension_settings`."""


@hookspec
def register_routes(router: Any, app: Any) -> None:
    """Add routes to a fastapi.APIRouter. They are served under /extension-api/FOLDER and guarded as the API is.  app: see startup."""


@hookspec
def register_tabs(app: Any) -> Sequence[NewTab] | None:
    """Tabs of the page.  app: see startup."""


@hookspec
def register_samplers() -> Sequence[NewSampler] | None:
    """Sampling methods. They are called "NAME @ FOLDER" everywhere."""


@hookspec
def register_schedules() -> Sequence[NewSchedule] | None:
    """Spacings of noise levels. They are called "NAME @ FOLDER" everywhere."""


@hookspec
def register_upscalers() -> Sequence[NewUpscaler] | None:
    """Ways to make pictures larger. They are called "NAME @ FOLDER" everywhere."""


@hookspec
def register_preprocessors() -> Sequence[NewPreprocessor] | None:
    """Ways to make control pictures for ControlNet. They are called "NAME @ FOLDER" everywhere."""


@hookspec
def register_postprocessors() -> Sequence[NewPostprocessor] | None:
    """Steps of the Extras tab and its API. They are called "NAME @ FOLDER" everywhere."""


@hookspec
def register_families() -> Sequence[NewFamily] | None:
    """Kinds of checkpoints. They are called "NAME @ FOLDER" everywhere."""


@hookspec
def register_prompt_syntax() -> Mapping[str, Callable[..., str]] | None:
    """By the kind of a tag <kind:name:argument:key=value>, what makes text of it, taking any of `name`, `arguments`, `named`, `request`."""


@hookspec
def register_extra_network_kinds() -> Mapping[str, Callable[..., Patch | None]] | None:
    """By the kind of a tag <kind:name:argument>, what makes a patch of the model of it (see patch_model), taking the same."""


@hookspec
def change_request(request: GenerationRequest) -> GenerationRequest | None:
    """Called once for each submitted job, before it is queued. Return a changed copy, or None to leave it as it is.

    Extensions are asked one after another, each with the last one's answer. Raising refuses the job.
    """


@hookspec
def prepare_prompts(
    request: GenerationRequest, settings: Settings, styles: Sequence[str], tell: Callable[[str], None]
) -> GenerationRequest | None:
    """Called when a request's prompts are made what will be drawn, its seed being known. Return a changed copy, or None.

    The program's styles and comments come before, its wildcards behind. A job's script has it called for each request that it draws.
    styles: names of stored styles that were asked for.   tell: takes sentences for the user.
    """


@hookspec
def before_job(job_id: str, request: GenerationRequest) -> None:
    """Called when a job begins to be drawn, again after a restart."""


@hookspec
def before_batch(requests: tuple[GenerationRequest, ...], batch: int, settings: Settings) -> Sequence[GenerationRequest] | None:
    """Called before a batch is drawn; return as many changed copies, or None.

    requests: one for each picture.   batch: from 0.   What may be changed: prompts, seeds, the CFG scale and its rescaling.
    """


@hookspec
def on_step(requests: tuple[GenerationRequest, ...], x: Any, denoised: Any, moment: Moment) -> Any:
    """Called after each question of the sampler. Return a tensor in the place of `denoised`, or None.

    x: (B, C, h, w), what was asked.   denoised: the same without its noise, which the sampler goes on with.
    """


@hookspec
def guide(guidance: Any, request: GenerationRequest, settings: Settings) -> Any:
    """Called for each picture before it is drawn. Return another guidance (see webui.engine.guidance.Guidance), or None."""


@hookspec
def patch_model(request: GenerationRequest, settings: Settings) -> Patch | None:
    """Called before a job is drawn. Return a function that takes the UNet and gives a context in which it is changed; or None.

    A job whose model is patched shares no forward pass with others. The context must leave the UNet as it was.
    """


@hookspec
def after_image(image: Image, request: GenerationRequest, index: int, settings: Settings) -> Image | None:
    """Called for each drawn picture before it is saved. Return another one, or None.  index: its place in the job."""


@hookspec
def infotext_written(pairs: Mapping[str, str], request: GenerationRequest, index: int) -> Mapping[str, str] | None:
    """Called before a picture is saved. Return pairs to add to the text beside it.  pairs: what stands there beside the parameters."""


@hookspec
def infotext_pasted(infotext: str, changes: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Called when an infotext is taken over. Return further parameters of the request, by name.  changes: what it changes already.

    Raising leaves out what this extension would add, and tells the user.
    """


@hookspec
def image_saved(picture: Picture) -> None:
    """Called after a picture is on disk. Raising is logged and disturbs nobody."""


@hookspec
def job_finished(job_id: str, result: GenerationResult) -> None:
    """Called when a job has ended with a result, also a cancelled one's. Raising is logged and disturbs nobody."""

"""A script in A1111's shape: a class with a title, controls, and methods that are called at the stations of a job.

Controls are declared, not built: `ui` gives a `parameter(...)` for each name, and page, API and validation are made from that. Every
method but `title`, `show` and `ui` takes the job as `p` and any of the controls' values by name.

A script object keeps nothing: its methods run in other threads, at other times, and after a restart maybe in another process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL.Image import Image

from webui.core.declared import declared_model
from webui.core.errors import ExtensionFailed
from webui.core.extension_points import AddedPicture
from webui.core.parameters import parameters_of
from webui.core.request import GenerationRequest
from webui.core.result import Picture
from webui.core.scripts import Desk, Draw, Plan, ScriptArguments, Steps
from webui.core.scripts import Script as CoreScript
from webui.core.settings import Settings
from webui.plugins.calls import Calls, accepted


class AlwaysVisible:
    """What `show` answers for a script that is asked at every job."""


@dataclass(frozen=True)
class PostprocessBatch:
    """What postprocess_batch gets.  images: of the batch, in order; put others in their places."""

    images: list[Image]
    batch_number: int


@dataclass
class PostprocessImage:
    """What postprocess_image gets.  image: assign another one.   index: its place in the job."""

    image: Image
    index: int


@dataclass(frozen=True)
class Processed:
    """What postprocess gets: the job's saved pictures.  added: those that the script adds to them."""

    pictures: tuple[Picture, ...]
    request: GenerationRequest = field(default_factory=GenerationRequest)
    added: list[AddedPicture] = field(default_factory=list)

    def add(self, image: Image, infotext: str | None = None, like: int = 0) -> None:
        """Add a picture behind the job's own; it is saved as they are.

        infotext: what stands beside it; by default what stands beside the picture that it is like, counted in `pictures`.
        Raises TypeError for what is no picture, IndexError where there is none that it could be like.
        """
        if not isinstance(image, Image):
            raise TypeError(f"processed.add got a {type(image).__name__}; give a picture")
        model = self.pictures[like] if self.pictures else None
        request = model.request if model and isinstance(model.request, GenerationRequest) else self.request.of_image(0)
        beside = infotext if infotext is not None else model.infotext if model else ""
        self.added.append(AddedPicture(image, beside, request))

    @property
    def infotexts(self) -> tuple[str, ...]:
        """The texts beside them."""
        return tuple(picture.infotext for picture in self.pictures)


class Script:
    """Derive from this, and give one object of it in the hook register_scripts."""

    def title(self) -> str:
        """Its name, by which the API calls it too."""
        raise NotImplementedError("a script needs a title(self) that returns its name")

    def show(self, is_img2img: bool) -> object:
        """AlwaysVisible, True for one that is chosen in the list, or False for none in this tab."""
        return AlwaysVisible

    def ui(self, is_img2img: bool) -> Mapping[str, Any]:
        """Its controls: webui.core.parameters.parameter(...) by name."""
        return {}

    def before_component(self, elem_id: str, is_img2img: bool, add: Callable[[str], Any]) -> None:
        """While the page is laid out, before the control of this id. `add("name")` lays a control of `ui` out here."""

    def after_component(self, component: Any, elem_id: str, is_img2img: bool, add: Callable[[str], Any]) -> None:
        """As before_component, after a control.  component: it, a gradio component."""

    def setup(self, p: Processing) -> None:
        """First of all, before the job is queued; styles and wildcards are still names."""

    def before_process(self, p: Processing) -> None:
        """As setup, after that of all scripts."""

    def process(self, p: Processing) -> None:
        """Before the job is queued, when its prompts are as they will be drawn."""

    def before_process_batch(self, p: Processing, batch_number: int) -> None:
        """Before a batch is drawn, for each of its pictures; p is that picture's."""

    def process_batch(self, p: Processing, batch_number: int) -> None:
        """As before_process_batch, after that of all scripts."""

    def postprocess_batch(self, p: Processing, pp: PostprocessBatch) -> None:
        """When a batch is drawn."""

    def postprocess_image(self, p: Processing, pp: PostprocessImage) -> None:
        """When a picture is drawn, before it is saved."""

    def postprocess(self, p: Processing, processed: Processed) -> None:
        """When all pictures are drawn and saved; further ones may be added."""

    def run(self, p: Processing) -> Steps:
        """Of a script that is chosen: a generator, see webui.core.scripts. As it stands, it draws the job as it is."""
        yield Draw(p.request)


class Processing:
    """A job as a script's methods see it: every parameter of its request is an attribute, also under A1111's name; set it to change it.

    settings: the job's, frozen.   extra_generation_params: pairs for the text beside the pictures.
    """

    settings: Settings
    extra_generation_params: dict[str, str]

    def __init__(self, request: GenerationRequest, settings: Settings) -> None:
        own = {"_request": request, "_changes": {}, "settings": settings, "extra_generation_params": dict(request.extension_pairs)}
        self.__dict__.update(own)

    def __getattr__(self, name: str) -> Any:
        field = _field(name)
        changes: dict[str, Any] = self.__dict__["_changes"]
        return changes[field] if field in changes else getattr(self.__dict__["_request"], field)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "extra_generation_params":
            self.__dict__[name] = dict(value)
        elif name == "all_prompts" or name == "all_negative_prompts":
            self._set_prompts(name.removeprefix("all_"), value)
        else:
            self.__dict__["_changes"][_field(name)] = value

    @property
    def request(self) -> GenerationRequest:
        """The request with what was changed.  Raises InvalidRequest when that is not allowed."""
        request: GenerationRequest = self.__dict__["_request"]
        pairs = {key: str(value) for key, value in self.extra_generation_params.items()}
        changes = {**self.__dict__["_changes"], **({"extension_pairs": pairs} if pairs != request.extension_pairs else {})}
        return request.changed(**changes) if changes else request

    @property
    def all_prompts(self) -> list[str]:
        """The prompt of every picture."""
        return list(self.prompts) or [self.prompt] * self.batch_count * self.batch_size

    @property
    def all_negative_prompts(self) -> list[str]:
        """The negative prompt of every picture."""
        return list(self.negative_prompts) or [self.negative_prompt] * self.batch_count * self.batch_size

    @property
    def all_seeds(self) -> list[int]:
        """The seed of every picture."""
        return [self.request.seeds_of_image(index)["seed"] for index in range(self.batch_count * self.batch_size)]

    def _set_prompts(self, name: str, values: Sequence[str]) -> None:
        texts = tuple(values)
        self.__dict__["_changes"] |= {name: texts, name.removesuffix("s"): texts[0] if texts else ""}


def arguments_of(script: Script) -> type[ScriptArguments]:
    """What a script's `ui` declares, for both tabs together.  Raises TypeError for what is no parameter."""
    declared = {**script.ui(is_img2img=True), **script.ui(is_img2img=False)}
    return declared_model(f"{script.title()} arguments", declared)


@dataclass(frozen=True)
class AlwaysOnScript:
    """An always-on script with the extension that it belongs to.  tabs: (in txt2img, in the tabs that begin with a picture)."""

    extension: str
    script: Script
    title: str
    arguments: type[ScriptArguments]
    tabs: tuple[bool, bool]

    def values(self, request: GenerationRequest) -> dict[str, Any]:
        """What a job asks it, complete.  Raises InvalidRequest."""
        given = next((values for title, values in request.always_on.items() if title.lower() == self.title.lower()), {})
        return dict(self.as_core().read(given))

    def acts_on(self, request: GenerationRequest) -> bool:
        """Whether it is shown in the kind of tab that this request is of."""
        return self.tabs[bool(request.init_images)]

    def overrides(self, method: str) -> bool:
        """Whether the script has a method of its own in the place of the empty one."""
        return getattr(type(self.script), method) is not getattr(Script, method)

    def as_core(self) -> ShapedScript:
        """It, as what the API and the page know."""
        return ShapedScript(self.extension, self.script, self.title, self.arguments, Calls())


class ShapedScript(CoreScript[ScriptArguments]):
    """A chosen script of A1111's shape as the program's own kind."""

    def __init__(self, extension: str, script: Script, title: str, arguments: type[ScriptArguments], calls: Calls) -> None:
        self.title = title
        self.arguments = arguments
        self.needs_picture = not script.show(is_img2img=False)
        self._extension = extension
        self._script = script
        self._calls = calls

    def plan(self, request: GenerationRequest, arguments: ScriptArguments, desk: Desk) -> Plan:
        """What the script's own `plan` says, else as many pictures as the request asks for."""
        plan = getattr(self._script, "plan", None)
        if plan is None:
            return Plan(request.images, request.batch_count, request.images)
        return checked_plan(self._calls.call(self._extension, "plan", plan, self._given(request, arguments, desk)), self._extension)

    def run(self, request: GenerationRequest, arguments: ScriptArguments, desk: Desk) -> Steps:
        """Its `run`, with values by name."""
        given = self._given(request, arguments, desk)
        run = self._script.run
        return self._calls.steps(self._extension, f"the script {self.title}", run(**accepted(run, given)))

    @staticmethod
    def _given(request: GenerationRequest, arguments: ScriptArguments, desk: Desk) -> dict[str, Any]:
        # The requests that a script yields are jobs of no script.
        return {**dict(arguments), "p": Processing(request.without_script(), desk.settings), "desk": desk}


class GuardedScript(CoreScript[Any]):
    """An extension's script whose errors say so."""

    def __init__(self, extension: str, inner: CoreScript[Any], calls: Calls) -> None:
        self.title, self.arguments, self.positions = inner.title, inner.arguments, inner.positions
        self.needs_picture, self.file_argument = inner.needs_picture, inner.file_argument
        self._extension = extension
        self._inner = inner
        self._calls = calls

    def plan(self, request: GenerationRequest, arguments: Any, desk: Desk) -> Plan:
        """The inner one's."""
        with self._calls.named(self._extension, f"the script {self.title}"):
            plan = self._inner.plan(request, arguments, desk)
        return checked_plan(plan, self._extension)

    def run(self, request: GenerationRequest, arguments: Any, desk: Desk) -> Steps:
        """The inner one's; what it raises itself is named, what is thrown into it passes."""
        return self._calls.steps(self._extension, f"the script {self.title}", self._inner.run(request, arguments, desk))

    def choices(self, name: str, values: Mapping[str, Any], desk: Desk) -> tuple[str, ...] | None:
        """The inner one's."""
        with self._calls.named(self._extension, f"the script {self.title}"):
            return self._inner.choices(name, values, desk)


def checked_plan(plan: Any, extension: str) -> Plan:
    """Raises ExtensionFailed when it is none."""
    if not isinstance(plan, Plan):
        raise ExtensionFailed(f"Extension '{extension}': plan returned a {type(plan).__name__}; return a webui.core.scripts.Plan.")
    return plan


def _field(name: str) -> str:
    if name in GenerationRequest.model_fields:
        return name
    for own, one in parameters_of(GenerationRequest).items():
        if one.api == name:
            return own
    raise AttributeError(f"A job has no parameter {name!r}; docs/parameters.md lists them. A script keeps nothing else on p.")

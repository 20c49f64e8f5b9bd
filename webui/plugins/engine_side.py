"""The hooks of the engine: an implementation of `webui.core.ports.EngineHooks`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from PIL import Image
from pluggy import HookImpl

from webui.core.errors import ExtensionFailed, UnknownName, WebuiError
from webui.core.extension_points import (
    MARK,
    Addition,
    Moment,
    NamedPatch,
    NewFamily,
    NewPostprocessor,
    NewPreprocessor,
    NewSampler,
    NewSchedule,
    Patch,
    is_added,
)
from webui.core.extra_networks import NetworkTag, take_networks
from webui.core.request import GenerationRequest
from webui.core.settings import Settings
from webui.plugins.calls import OWN, Calls
from webui.plugins.script import AlwaysOnScript, Processing

log = logging.getLogger(__name__)

# What may differ between the pictures of a batch: everything else is the batch's own.
OF_A_PICTURE = frozenset({
    "prompt", "negative_prompt", "seed", "subseed", "subseed_strength", "cfg_scale", "cfg_rescale", "extension_pairs", "extensions_applied",
})  # fmt: skip


class Loaded(Protocol):
    """What the host knows."""

    def implementations(self, hook: str) -> list[HookImpl]:
        """In the order of calling."""
        ...

    def implements(self, *hooks: str) -> bool:
        """Whether any extension implements one of these."""
        ...

    def additions(self) -> tuple[Addition, ...]:
        """What extensions add."""
        ...

    def always_on(self) -> tuple[AlwaysOnScript, ...]:
        """Always-on scripts."""
        ...

    def postprocessors(self) -> tuple[NewPostprocessor, ...]:
        """Steps of Extras, the program's own too."""
        ...

    @property
    def calls(self) -> Calls:
        """How code of extensions is run."""
        ...


class EngineSide:
    """Calls the hooks of loaded extensions for the engine."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded

    @property
    def watches_steps(self) -> bool:
        """Whether any extension implements on_step."""
        return self._loaded.implements("on_step")

    def before_batch(self, requests: tuple[GenerationRequest, ...], batch: int, settings: Settings) -> tuple[GenerationRequest, ...]:
        """As extensions, then always-on scripts, change them. A request of a picture that was drawn before stays as it is."""
        scripts = [one for one in self._loaded.always_on() if _overrides(one, "before_process_batch", "process_batch")]
        implementations = self._loaded.implementations("before_batch")
        if not (scripts or implementations) or any(one.extensions_applied == "batch" for one in requests):
            return requests
        for one in implementations:
            given = {"requests": requests, "batch": batch, "settings": settings}
            answer = self._loaded.calls.call(one.plugin_name, "before_batch", one.function, given)
            if answer is not None:
                requests = _checked(answer, requests, one.plugin_name)
        for method in ("before_process_batch", "process_batch"):
            for script in scripts:
                requests = self._changed_by(script, method, requests, batch, settings)
        return tuple(one.changed(extensions_applied="batch") for one in requests)

    def _changed_by(
        self, script: AlwaysOnScript, method: str, requests: tuple[GenerationRequest, ...], batch: int, settings: Settings
    ) -> tuple[GenerationRequest, ...]:
        if not (script.acts_on(requests[0]) and _overrides(script, method)):
            return requests
        changed = []
        for request in requests:
            p = Processing(request, settings)
            given = {**script.values(request), "p": p, "batch_number": batch}
            self._loaded.calls.call(script.extension, method, getattr(script.script, method), given)
            with self._loaded.calls.named(script.extension, method):
                changed.append(p.request)
        return _checked(changed, requests, script.extension)

    def on_step(self, requests: tuple[GenerationRequest, ...], x: Any, denoised: Any, moment: Moment) -> Any:
        """As extensions, one after another, change it."""
        for one in self._loaded.implementations("on_step"):
            given = {"requests": requests, "x": x, "denoised": denoised, "moment": moment}
            answer = self._loaded.calls.call(one.plugin_name, "on_step", one.function, given)
            if answer is None:
                continue
            if getattr(answer, "shape", None) != denoised.shape:
                shape = tuple(getattr(answer, "shape", ()))
                raise ExtensionFailed(
                    f"Extension '{one.plugin_name}' returned a {type(answer).__name__} of shape {shape} from on_step; "
                    f"return a tensor of shape {tuple(denoised.shape)}, or None."
                )
            denoised = answer
        return denoised

    def guide(self, guidance: Any, request: GenerationRequest, settings: Settings) -> Any:
        """As extensions, one after another, change it."""
        for one in self._loaded.implementations("guide"):
            given = {"guidance": guidance, "request": request, "settings": settings}
            answer = self._loaded.calls.call(one.plugin_name, "guide", one.function, given)
            if answer is not None:
                guidance = _Guided(answer, one.plugin_name, self._loaded.calls)
        return guidance

    def patches(self, request: GenerationRequest, settings: Settings) -> tuple[NamedPatch, ...]:
        """Of extensions that patch this job's model, and of the tags in its prompts."""
        calls, patches = self._loaded.calls, list[NamedPatch]()
        for one in self._loaded.implementations("patch_model"):
            answer = calls.call(one.plugin_name, "patch_model", one.function, {"request": request, "settings": settings})
            if answer is not None:
                patches.append(NamedPatch(one.plugin_name, partial(_within, answer, one.plugin_name, "patch_model", calls)))
        if request.disable_extra_networks or not any(addition.network_kinds for addition in self._loaded.additions()):
            return tuple(patches)
        for tag in _tags(request):
            for addition in self._loaded.additions():
                if tag.kind in addition.network_kinds:
                    place, given = f"<{tag.kind}:...>", arguments_of_tag(tag, request)
                    answer = calls.call(addition.extension, place, addition.network_kinds[tag.kind], given)
                    if answer is not None:
                        patches.append(NamedPatch(addition.extension, partial(_within, answer, addition.extension, place, calls)))
        return tuple(patches)

    def find_sampler(self, name: str) -> NewSampler:
        """The sampler of that full name.  Raises UnknownName."""
        sampler: NewSampler = _find("sampler", name, [one for addition in self._loaded.additions() for one in addition.samplers])
        return sampler

    def find_schedule(self, name: str) -> NewSchedule:
        """The schedule of that full name.  Raises UnknownName."""
        schedule: NewSchedule = _find("schedule type", name, [one for addition in self._loaded.additions() for one in addition.schedules])
        return schedule

    def run(self, name: str, function: Callable[..., Any], /, **arguments: Any) -> Any:
        """What the function makes of the arguments that it takes.  Raises ExtensionFailed with the extension in the name."""
        extension = name.rpartition(MARK)[2] if is_added(name) else OWN
        return self._loaded.calls.call(extension, name, function, arguments)

    def enlarge(self, name: str, image: Image.Image, width: int, height: int) -> Image.Image:
        """The picture at this size, by the upscaler of that full name.  Raises UnknownName, ExtensionFailed."""
        upscaler = _find("upscaler", name, [one for addition in self._loaded.additions() for one in addition.upscalers])
        answer = self.run(name, upscaler.enlarge, image=image, width=width, height=height)
        larger = _rgb(answer, name)
        return larger if larger.size == (width, height) else larger.resize((width, height), Image.Resampling.LANCZOS)

    def find_preprocessor(self, name: str) -> NewPreprocessor:
        """The preprocessor of that full name.  Raises UnknownName."""
        preprocessor: NewPreprocessor = _find(
            "preprocessor", name, [one for addition in self._loaded.additions() for one in addition.preprocessors]
        )
        return preprocessor

    def annotate(self, name: str, image: Image.Image, resolution: int) -> Image.Image:
        """What the preprocessor of that full name makes of a picture.  Raises UnknownName, ExtensionFailed."""
        return _rgb(self.run(name, self.find_preprocessor(name).annotate, image=image.convert("RGB"), resolution=resolution), name)

    def find_postprocessor(self, name: str) -> NewPostprocessor:
        """The step of Extras of that full name.  Raises UnknownName."""
        step: NewPostprocessor = _find("postprocessor", name, self._loaded.postprocessors())
        return step

    def postprocess(
        self, name: str, image: Image.Image, source: str, values: Mapping[str, Any], tell: Callable[[str], None]
    ) -> Image.Image:
        """What the step of that full name makes of a picture, maybe with transparency.  Raises UnknownName, ExtensionFailed."""
        step = self.find_postprocessor(name)
        answer = self.run(step.name, step.process, **{**values, "image": image, "name": source, "tell": tell})
        if answer is None:
            return image
        if not isinstance(answer, Image.Image):
            raise ExtensionFailed(f"{step.name} returned a {type(answer).__name__}; return a picture.")
        return answer.convert("RGBA" if answer.has_transparency_data else "RGB")

    def families(self) -> tuple[NewFamily, ...]:
        """Those of extensions. One that fails to say what it recognises recognises nothing, and is in the log."""
        return tuple(self._guarded(one) for addition in self._loaded.additions() for one in addition.families)

    def _guarded(self, family: NewFamily) -> NewFamily:
        def recognises(shapes: Mapping[str, tuple[int, ...]]) -> bool:
            try:
                return bool(self.run(family.name, lambda: family.recognises(shapes)))
            except WebuiError:
                return False

        return replace(family, recognises=recognises, build=lambda: self.run(family.name, family.build))


class _Guided:
    """An extension's guidance, whose errors are named."""

    def __init__(self, inner: Any, extension: str, calls: Calls) -> None:
        self._inner = inner
        self._extension = extension
        self._calls = calls

    def wants_negative(self, moment: Any) -> bool:
        """The inner one's."""
        with self._calls.named(self._extension, "its guidance"):
            return bool(self._inner.wants_negative(moment))

    def combine(self, estimates: Any) -> Any:
        """The inner one's."""
        with self._calls.named(self._extension, "its guidance"):
            return self._inner.combine(estimates)

    @property
    def used(self) -> Any:
        """The inner one's, if it has any."""
        return getattr(self._inner, "used", {})


def arguments_of_tag(tag: NetworkTag, request: GenerationRequest) -> dict[str, Any]:
    """What the functions behind tags may take."""
    return {"name": tag.name, "arguments": tag.positional, "named": dict(tag.named), "request": request}


@contextmanager
def _within(patch: Patch, extension: str, place: str, calls: Calls, model: Any) -> Iterator[None]:
    """The model changed. What fails on the way back is logged: the job it was for is over."""
    with calls.named(extension, place):
        context: AbstractContextManager[Any] = patch(model)
        context.__enter__()
    try:
        yield
    finally:
        try:
            context.__exit__(None, None, None)
        except Exception:
            log.exception("Extension '%s' failed in %s, putting the model back", extension, place)


def _rgb(answer: Any, name: str) -> Image.Image:
    if not isinstance(answer, Image.Image):
        raise ExtensionFailed(f"{name} returned a {type(answer).__name__}; return a picture.")
    return answer.convert("RGB")


def _tags(request: GenerationRequest) -> Sequence[NetworkTag]:
    prompts = dict.fromkeys(request.prompts or (request.prompt,))
    return list(dict.fromkeys(tag for prompt in prompts for tag in take_networks(prompt)[1]))


def _find(kind: str, name: str, known: Sequence[Any]) -> Any:
    for one in known:
        if one.name.lower() == name.strip().lower():
            return one
    raise UnknownName(kind, name, [one.name for one in known])


def _overrides(script: AlwaysOnScript, *methods: str) -> bool:
    """Whether a script has one of these methods of its own."""
    return any(script.overrides(method) for method in methods)


def _checked(answer: Any, requests: tuple[GenerationRequest, ...], extension: str) -> tuple[GenerationRequest, ...]:
    """What an extension made of a batch's requests."""
    changed = tuple(answer)
    if len(changed) != len(requests) or not all(isinstance(one, GenerationRequest) for one in changed):
        raise ExtensionFailed(f"Extension '{extension}' returned no list of {len(requests)} requests from before_batch.")
    for before, after in zip(requests, changed, strict=True):
        different = [name for name in type(before).model_fields if getattr(before, name) != getattr(after, name)]
        if wrong := [name for name in different if name not in OF_A_PICTURE]:
            raise ExtensionFailed(
                f"Extension '{extension}' changed {', '.join(wrong)} before a batch; "
                f"only {', '.join(sorted(OF_A_PICTURE - {'extensions_applied'}))} may differ there."
            )
    return changed

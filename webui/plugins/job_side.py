"""The hooks around a job, outside the engine: what changes requests and finished pictures."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from PIL.Image import Image
from pluggy import HookImpl

from webui.core.errors import ExtensionFailed, InvalidRequest, UnknownName, WebuiError
from webui.core.extension_points import Addition, is_added
from webui.core.extra_networks import find_networks
from webui.core.infotext_apply import Pasted
from webui.core.request import GenerationRequest
from webui.core.result import GenerationResult
from webui.core.settings import Settings
from webui.plugins.calls import Calls
from webui.plugins.engine_side import EngineSide, arguments_of_tag
from webui.plugins.script import AlwaysOnScript, PostprocessBatch, PostprocessImage, Processed, Processing

log = logging.getLogger(__name__)

# A tag's text may hold further tags; so often at most.
MAX_EXPANSIONS = 200
REQUEST_HOOKS = ("change_request",)


class JobSide:
    """Calls the hooks of loaded extensions for jobs. The host derives from this."""

    _calls: Calls
    _additions: tuple[Addition, ...]
    _settings_now: Callable[[], Settings]
    engine_side: EngineSide

    def implementations(self, hook: str) -> list[HookImpl]:
        """The host's."""
        raise NotImplementedError

    def implements(self, *hooks: str) -> bool:
        """The host's."""
        raise NotImplementedError

    def always_on(self) -> tuple[AlwaysOnScript, ...]:
        """The host's."""
        raise NotImplementedError

    def begin(self, request: GenerationRequest, settings: Settings) -> GenerationRequest:
        """The request after `setup` and `before_process` of always-on scripts.  Raises ExtensionFailed, InvalidRequest."""
        self._check_names(request)
        if request.extensions_applied:
            return request
        return self._by_scripts(self._by_scripts(request, settings, "setup"), settings, "before_process")

    def change_request(self, request: GenerationRequest) -> GenerationRequest:
        """The request after every extension had its say.  Raises WebuiError naming the extension that failed or refused."""
        if request.extensions_applied:
            return request
        for one in self.implementations("change_request"):
            answer = self._calls.call(one.plugin_name, "change_request", one.function, {"request": request})
            request = _checked(answer, request, one.plugin_name)
        return request

    def settle(self, request: GenerationRequest, settings: Settings) -> GenerationRequest:
        """The request with tags of extensions made text, after `process` of always-on scripts.  Raises as `begin`, and UnknownName."""
        if not request.extensions_applied:
            request = self._by_scripts(self._expanded(request), settings, "process")
            has_changed = self.implements(*REQUEST_HOOKS) or bool(self.always_on()) or any(one.syntax for one in self._additions)
            request = request.changed(extensions_applied="request") if has_changed else request
        self._check_names(request)
        return request

    def knows_network(self, kind: str) -> bool:
        """Whether an extension patches models for such tags."""
        return any(kind in one.network_kinds for one in self._additions)

    def before_job(self, job_id: str, request: GenerationRequest) -> None:
        """Tell every extension.  Raises ExtensionFailed, InvalidRequest."""
        for one in self.implementations("before_job"):
            self._calls.call(one.plugin_name, "before_job", one.function, {"job_id": job_id, "request": request})

    def wants_batches(self, request: GenerationRequest) -> bool:
        """Whether a script of this job has a postprocess_batch."""
        return any(script.acts_on(request) and script.overrides("postprocess_batch") for script in self.always_on())

    def after_batch(self, images: list[Image], request: GenerationRequest, batch: int, settings: Settings) -> list[Image]:
        """What scripts make of a batch's pictures.  Raises ExtensionFailed."""
        for script in self._acting(request, "postprocess_batch"):
            pp = PostprocessBatch(list(images), batch)
            self._run(script, "postprocess_batch", Processing(request, settings), pp=pp)
            if len(pp.images) != len(images) or not all(isinstance(one, Image) for one in pp.images):
                raise ExtensionFailed(f"Extension '{script.extension}' left no {len(images)} pictures in postprocess_batch.")
            images = list(pp.images)
        return images

    def after_image(self, image: Image, request: GenerationRequest, index: int, settings: Settings) -> tuple[Image, Mapping[str, str]]:
        """What scripts, then extensions, make of a picture; and pairs for the text beside it.  Raises ExtensionFailed."""
        pairs = dict(request.extension_pairs)
        for script in self._acting(request, "postprocess_image"):
            pp, p = PostprocessImage(image, index), Processing(request, settings)
            self._run(script, "postprocess_image", p, pp=pp)
            image = _picture(pp.image, script.extension, "postprocess_image")
            pairs |= {key: str(value) for key, value in p.extra_generation_params.items()}
        for one in self.implementations("after_image"):
            given = {"image": image, "request": request, "index": index, "settings": settings}
            answer = self._calls.call(one.plugin_name, "after_image", one.function, given)
            image = image if answer is None else _picture(answer, one.plugin_name, "after_image")
        return image, pairs

    def infotext_written(self, pairs: Mapping[str, str], request: GenerationRequest, index: int) -> Mapping[str, str]:
        """The pairs with what extensions add.  Raises ExtensionFailed."""
        for one in self.implementations("infotext_written"):
            given = {"pairs": dict(pairs), "request": request, "index": index}
            answer = self._calls.call(one.plugin_name, "infotext_written", one.function, given)
            pairs = {**pairs, **{str(key): str(value) for key, value in dict(answer or {}).items()}}
        return pairs

    def infotext_pasted(self, infotext: str, pasted: Pasted) -> Pasted:
        """The paste with what extensions add; one that fails adds nothing, and the user is told."""
        for one in self.implementations("infotext_pasted"):
            given = {"infotext": infotext, "changes": dict(pasted.request_changes)}
            try:
                answer = self._calls.call(one.plugin_name, "infotext_pasted", one.function, given) or {}
                changes = {**pasted.request_changes, **answer}
                with self._calls.named(one.plugin_name, "infotext_pasted"):
                    valid = GenerationRequest().changed(**changes)
            except WebuiError as error:
                pasted = Pasted(pasted.request_changes, pasted.settings_changes, pasted.unknown, (*pasted.remarks, str(error)))
                continue
            read = {name: getattr(valid, name) for name in answer}
            pasted = Pasted({**pasted.request_changes, **read}, pasted.settings_changes, pasted.unknown, pasted.remarks)
        return pasted

    def postprocess(self, result: GenerationResult) -> None:
        """Tell the always-on scripts of a job that it has ended; one that fails is in the log."""
        request = result.request
        if not isinstance(request, GenerationRequest):
            return
        for script in self._acting(request, "postprocess"):
            try:
                self._run(script, "postprocess", Processing(request, self._settings_now()), processed=Processed(tuple(result.pictures)))
            except WebuiError as error:
                log.warning("%s", error)

    def _acting(self, request: GenerationRequest, method: str) -> Sequence[AlwaysOnScript]:
        return [script for script in self.always_on() if script.acts_on(request) and script.overrides(method)]

    def _by_scripts(self, request: GenerationRequest, settings: Settings, method: str) -> GenerationRequest:
        for script in self._acting(request, method):
            p = Processing(request, settings)
            self._run(script, method, p)
            try:
                request = p.request
            except InvalidRequest as error:
                raise InvalidRequest(f"Extension '{script.extension}' made the request invalid in {method}. {error}") from error
        return request

    def _run(self, script: AlwaysOnScript, method: str, p: Processing, **given: Any) -> None:
        values = script.values(p.request)
        self._calls.call(script.extension, method, getattr(script.script, method), {**values, "p": p, **given})

    def _expanded(self, request: GenerationRequest) -> GenerationRequest:
        """Every prompt with the tags of extensions made text."""
        syntax = {kind: (one.extension, function) for one in self._additions for kind, function in one.syntax.items()}
        if not syntax:
            return request

        def text_of(prompt: str) -> str:
            for _ in range(MAX_EXPANSIONS):
                found = next(((start, end, tag) for start, end, tag in find_networks(prompt) if tag.kind in syntax), None)
                if found is None:
                    return prompt
                start, end, tag = found
                extension, function = syntax[tag.kind]
                text = self._calls.call(extension, f"<{tag.kind}:...>", function, arguments_of_tag(tag, request))
                prompt = f"{prompt[:start]}{text}{prompt[end:]}"
            raise InvalidRequest(f"A prompt has more than {MAX_EXPANSIONS} tags of extensions, or a tag becomes itself again. Use fewer.")

        return _with_prompts(request, text_of)

    def _check_names(self, request: GenerationRequest) -> None:
        """Raises UnknownName for a sampler, schedule, preprocessor or always-on script that no extension adds."""
        for name in filter(is_added, (request.sampler, request.hr_sampler)):
            self.engine_side.find_sampler(name)
        for name in filter(is_added, (request.schedule, request.hr_schedule)):
            self.engine_side.find_schedule(name)
        known = {script.title.lower() for script in self.always_on()}
        for title in request.always_on:
            if title.lower() not in known:
                raise UnknownName("always-on script", title, [script.title for script in self.always_on()])
        for _, unit in request.active_units:
            if is_added(unit.module):
                self.engine_side.find_preprocessor(unit.module)


def _with_prompts(request: GenerationRequest, change: Callable[[str], str]) -> GenerationRequest:
    fields = ("prompt", "negative_prompt", "hr_prompt", "hr_negative_prompt")
    changes: dict[str, Any] = {name: change(getattr(request, name)) for name in fields}
    changes |= {name: tuple(change(text) for text in getattr(request, name)) for name in ("prompts", "negative_prompts")}
    return request.changed(**changes)


def _picture(answer: Any, extension: str, place: str) -> Image:
    if not isinstance(answer, Image):
        raise ExtensionFailed(f"Extension '{extension}' gave a {type(answer).__name__} in {place}; give a picture.")
    return answer


def _checked(answer: Any, request: GenerationRequest, extension: str) -> GenerationRequest:
    """What an extension answered, validated as if it came from outside: a copy can be made without validation."""
    if answer is None:
        return request
    if not isinstance(answer, GenerationRequest):
        kind = type(answer).__name__
        raise ExtensionFailed(f"Extension '{extension}' returned a {kind} from change_request; return a GenerationRequest or None.")
    try:
        return answer.changed()
    except InvalidRequest as error:
        raise InvalidRequest(f"Extension '{extension}' returned an invalid request. {error}") from error

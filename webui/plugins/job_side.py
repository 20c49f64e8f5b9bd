"""The hooks around a job, outside the engine: what changes requests and finished pictures."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from PIL.Image import Image
from pluggy import HookImpl
from pydantic import ValidationError

from webui.core.declared import declared_model
from webui.core.errors import ExtensionFailed, InvalidRequest, UnknownName, WebuiError
from webui.core.extension_points import AddedPicture, Addition, is_added
from webui.core.extra_networks import find_networks
from webui.core.extras import ExtrasRequest, ExtrasStep
from webui.core.infotext import read_infotext
from webui.core.infotext_apply import Pasted
from webui.core.request import GenerationRequest, describe_validation
from webui.core.result import GenerationResult
from webui.core.scripts import ScriptArguments
from webui.core.settings import Settings
from webui.core.validation import keep_valid
from webui.plugins.calls import Calls, is_own
from webui.plugins.engine_side import EngineSide, arguments_of_tag
from webui.plugins.infotext_fields import infotext_keys, read_fields, read_settings, recorded, written_fields, written_settings
from webui.plugins.script import AlwaysOnScript, PostprocessBatch, PostprocessImage, Processed, Processing

log = logging.getLogger(__name__)

# A tag's text may hold further tags; so often at most.
MAX_EXPANSIONS = 200
REQUEST_HOOKS = ("change_request", "prepare_prompts")


class JobSide:
    """Calls the hooks of loaded extensions for jobs. The host derives from this."""

    _calls: Calls
    _additions: tuple[Addition, ...]
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
            request = _checked(answer, request, one.plugin_name, "change_request")
        return request

    def prepare(self, request: GenerationRequest, settings: Settings, styles: Sequence[str]) -> tuple[GenerationRequest, tuple[str, ...]]:
        """The request with its prompts as they will be drawn, and remarks.  Raises ExtensionFailed, InvalidRequest."""
        remarks: list[str] = []
        given = {"settings": settings, "styles": tuple(styles), "tell": remarks.append}
        for one in self.implementations("prepare_prompts"):
            if request.extensions_applied and not is_own(one.plugin_name):
                continue
            answer = self._calls.call(one.plugin_name, "prepare_prompts", one.function, {**given, "request": request})
            request = _checked(answer, request, one.plugin_name, "prepare_prompts")
        return request, tuple(remarks)

    def settle(self, request: GenerationRequest, settings: Settings) -> GenerationRequest:
        """The request with tags of extensions made text, after `process` of always-on scripts.  Raises as `begin`, and UnknownName."""
        if not request.extensions_applied:
            request = self._by_scripts(self._with_fields(self._expanded(request)), settings, "process")
            has_changed = self.implements(*REQUEST_HOOKS) or bool(self.always_on()) or any(one.syntax for one in self._additions)
            request = request.changed(extensions_applied="request") if has_changed else request
        self._check_names(request)
        return request

    def settle_extras(self, request: ExtrasRequest) -> ExtrasRequest:
        """The request with the steps that extensions add under their full names, and complete.  Raises UnknownName, InvalidRequest."""
        steps = []
        for step in request.steps:
            found = self.engine_side.find_postprocessor(step.name)
            try:
                values = declared_model(found.name, found.controls).model_validate(step.values).model_dump(mode="json")
            except ValidationError as error:
                raise InvalidRequest(f"{found.name}: {describe_validation(error)}") from None
            steps.append(ExtrasStep(name=found.name, order=found.order, values=values))
        return request.changed(steps=tuple(steps)) if steps else request

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

    def recorded_settings(self, settings: Settings) -> Mapping[str, Any]:
        """Of the extensions' settings those that change pictures, by name."""
        names = [one.name for one in recorded(self._additions).values()]
        return {name: settings.extension_settings[name] for name in names if name in settings.extension_settings}

    def infotext_written(self, pairs: Mapping[str, str], request: GenerationRequest, index: int, settings: Settings) -> Mapping[str, str]:
        """The pairs with what extensions add.  Raises ExtensionFailed."""
        pairs = {**written_settings(recorded(self._additions), settings.extension_settings), **pairs}
        for one in self.implementations("infotext_written"):
            given = {"pairs": dict(pairs), "request": request, "index": index}
            answer = self._calls.call(one.plugin_name, "infotext_written", one.function, given)
            pairs = {**pairs, **{str(key): str(value) for key, value in dict(answer or {}).items()}}
        return pairs

    def infotext_pasted(self, infotext: str, pasted: Pasted) -> Pasted:
        """The paste with what extensions add; one that fails adds nothing, and the user is told."""
        pasted = self._with_pasted_settings(infotext, self._with_pasted_fields(infotext, pasted))
        for one in self.implementations("infotext_pasted"):
            given = {"infotext": infotext, "changes": dict(pasted.request_changes)}
            try:
                answer = self._calls.call(one.plugin_name, "infotext_pasted", one.function, given) or {}
                changes = {**pasted.request_changes, **answer}
                with self._calls.named(one.plugin_name, "infotext_pasted"):
                    valid = GenerationRequest().changed(**changes)
            except WebuiError as error:
                pasted = replace(pasted, remarks=(*pasted.remarks, str(error)))
                continue
            read = {name: getattr(valid, name) for name in answer}
            pasted = replace(pasted, request_changes={**pasted.request_changes, **read})
        return pasted

    def _with_pasted_fields(self, infotext: str, pasted: Pasted) -> Pasted:
        """With what the text says of scripts' controls; a picture's own record says it better."""
        if "always_on" in pasted.request_changes or not infotext:
            return pasted
        asked, wrong = read_fields(self.always_on(), read_infotext(infotext))
        known = {key for script in self.always_on() for key in infotext_keys(script)}
        changes = {**pasted.request_changes, **({"always_on": asked} if asked else {})}
        unknown = {key: value for key, value in pasted.unknown.items() if key not in known}
        return replace(pasted, request_changes=changes, unknown=unknown, remarks=(*pasted.remarks, *wrong))

    def _with_pasted_settings(self, infotext: str, pasted: Pasted) -> Pasted:
        """With the settings of extensions that the picture's record names, or else the text; of those alone that change pictures."""
        known = recorded(self._additions)
        said = dict(pasted.extension_settings) or read_settings(known, read_infotext(infotext))
        if not said:
            return pasted
        fields = {name: field for addition in self._additions for name, field in addition.settings.items()}
        model = declared_model("pasted settings", {one.name: fields[one.name] for one in known.values()})
        valid, wrong = keep_valid(said, lambda values: _read_model(model, values))
        remarks = [f"The picture's setting {name[:80]!r} of an extension is left out: {reason}" for name, reason in wrong.items()]
        unknown = {key: value for key, value in pasted.unknown.items() if key not in known}
        changes = {**pasted.settings_changes, **valid}
        return replace(pasted, settings_changes=changes, unknown=unknown, remarks=(*pasted.remarks, *remarks))

    def postprocess(self, result: GenerationResult, settings: Settings) -> tuple[AddedPicture, ...]:
        """What always-on scripts add to a job whose pictures are drawn; one that fails adds nothing, and is in the log."""
        request = result.request
        if not isinstance(request, GenerationRequest):
            return ()
        added: list[AddedPicture] = []
        for script in self._acting(request, "postprocess"):
            processed = Processed(tuple(result.pictures), request)
            try:
                self._run(script, "postprocess", Processing(request, settings), processed=processed)
            except WebuiError as error:
                log.warning("%s", error)
            else:
                added += processed.added
        return tuple(added)

    def _with_fields(self, request: GenerationRequest) -> GenerationRequest:
        """With the values of scripts' controls for the text beside the pictures, of controls that have a key there."""
        pairs = {key: value for one in self.always_on() if one.acts_on(request) for key, value in written_fields(one, request).items()}
        return request.changed(extension_pairs={**pairs, **request.extension_pairs}) if pairs else request

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


def _read_model(model: type[ScriptArguments], values: Mapping[str, Any]) -> ScriptArguments:
    """Raises InvalidRequest."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise InvalidRequest(describe_validation(error)) from None


def _with_prompts(request: GenerationRequest, change: Callable[[str], str]) -> GenerationRequest:
    fields = ("prompt", "negative_prompt", "hr_prompt", "hr_negative_prompt")
    changes: dict[str, Any] = {name: change(getattr(request, name)) for name in fields}
    changes |= {name: tuple(change(text) for text in getattr(request, name)) for name in ("prompts", "negative_prompts")}
    return request.changed(**changes)


def _picture(answer: Any, extension: str, place: str) -> Image:
    if not isinstance(answer, Image):
        raise ExtensionFailed(f"Extension '{extension}' gave a {type(answer).__name__} in {place}; give a picture.")
    return answer


def _checked(answer: Any, request: GenerationRequest, extension: str, hook: str) -> GenerationRequest:
    """What an extension answered, validated as if it came from outside: a copy can be made without validation."""
    if answer is None:
        return request
    if not isinstance(answer, GenerationRequest):
        kind = type(answer).__name__
        raise ExtensionFailed(f"Extension '{extension}' returned a {kind} from {hook}; return a GenerationRequest or None.")
    try:
        return answer.changed()
    except InvalidRequest as error:
        raise InvalidRequest(f"Extension '{extension}' returned an invalid request. {error}") from error

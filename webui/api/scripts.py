"""Scripts over HTTP: which there are, what they ask, and what a drawing request says of one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from fastapi import FastAPI, HTTPException

from webui.api.always_on import always_on, of_extensions
from webui.api.schemas import DrawRequest, ScriptArgument, ScriptInfo, ScriptsList
from webui.app import App
from webui.core.errors import UnknownName
from webui.core.parameters import Parameter, parameters_of
from webui.core.request import GenerationRequest
from webui.core.scripts import Desk, Script


class Scripts:
    """The handlers that tell of scripts."""

    def __init__(self, app: App) -> None:
        self._app = app

    def add_routes(self, server: FastAPI) -> None:
        """Put the handlers under A1111's paths."""
        server.add_api_route("/sdapi/v1/scripts", self.names, methods=["GET"], response_model=ScriptsList, tags=["scripts"])
        server.add_api_route("/sdapi/v1/script-info", self.details, methods=["GET"], response_model=list[ScriptInfo], tags=["scripts"])

    def names(self) -> ScriptsList:
        """The scripts of both tabs by name, in small letters as in A1111."""
        selectable = {tab: [_wire_name(script) for script in self._of(tab)] for tab in (False, True)}
        always = {
            tab: [*(name for name, _ in always_on(is_img2img=tab)), *map(_wire_name, of_extensions(self._app, is_img2img=tab))]
            for tab in (False, True)
        }
        return ScriptsList(txt2img=selectable[False] + always[False], img2img=selectable[True] + always[True])

    def details(self) -> list[ScriptInfo]:
        """The scripts of both tabs with what each asks, in the order in which `script_args` has it."""
        return [info for is_img2img in (False, True) for info in self._infos(is_img2img)]

    def _infos(self, is_img2img: bool) -> list[ScriptInfo]:
        declared = parameters_of(GenerationRequest)
        always = [
            ScriptInfo(
                name=name,
                is_alwayson=True,
                is_img2img=is_img2img,
                args=[write_argument(declared[one], declared[one].choices) for one in arguments],
            )
            for name, arguments in always_on(is_img2img=is_img2img)
        ]
        desk = self._app.script_desk
        selectable = [_describe(script, desk, is_img2img=is_img2img) for script in self._of(is_img2img)]
        added = [
            _describe(script, desk, is_img2img=is_img2img).model_copy(update={"is_alwayson": True})
            for script in of_extensions(self._app, is_img2img=is_img2img)
        ]
        return [*selectable, *always, *added]

    def _of(self, is_img2img: bool) -> Iterable[Script[Any]]:
        return [script for script in self._app.scripts if is_img2img or not script.needs_picture]


def add_script(app: App, wire: DrawRequest, request: GenerationRequest) -> GenerationRequest:
    """The request with the script that the client names.  Raises HTTPException 422 for an unknown one, as A1111 does.

    script_args: a list in A1111's order, or an object of arguments by name; what is left out is as declared.  Raises InvalidRequest.
    """
    if not wire.script_name:
        return request
    needs_picture = bool(request.init_images)
    try:
        script = app.host.find_script(wire.script_name)
    except UnknownName:
        raise HTTPException(422, f"Script '{wire.script_name[:200]}' not found") from None
    if script.needs_picture and not needs_picture:
        raise HTTPException(422, f"Script '{wire.script_name[:200]}' not found in txt2img; it begins with a picture, so use img2img")
    given = wire.script_args
    arguments = dict(given) if isinstance(given, dict) else script.read_positions(given, needs_picture=needs_picture)
    return request.changed(script=script.title, script_args=arguments)


def _wire_name(script: Script[Any]) -> str:
    return script.title.lower()


def _describe(script: Script[Any], desk: Desk, *, is_img2img: bool) -> ScriptInfo:
    declared = parameters_of(script.arguments)
    names = script.positions or tuple(declared)
    defaults = {name: parameter.default for name, parameter in declared.items()}
    arguments = [
        write_argument(declared[name], declared[name].choices or script.choices(name, defaults, desk)) if name else ScriptArgument()
        for name in names
    ]
    return ScriptInfo(name=_wire_name(script), is_alwayson=False, is_img2img=is_img2img, args=arguments)


def write_argument(parameter: Parameter, choices: Sequence[str] | None) -> ScriptArgument:
    """An argument as the API tells of it."""
    low, high = parameter.slider or (parameter.minimum, parameter.maximum)
    return ScriptArgument(
        label=parameter.title,
        value=list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default,
        minimum=low,
        maximum=high,
        step=parameter.step,
        choices=list(choices) if choices else None,
    )

"""What an extension says it adds: its register_* hooks are called once, when it is loaded, and what they answer is checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from webui.core.declared import declared_model
from webui.core.extension_points import (
    MARK,
    Addition,
    Assets,
    NewFamily,
    NewPostprocessor,
    NewPreprocessor,
    NewSampler,
    NewSchedule,
    NewUpscaler,
    is_added,
)
from webui.core.infotext import BASE_KEYS, is_key
from webui.core.parameters import parameters_of
from webui.core.request import GenerationRequest
from webui.core.scripts import Script as CoreScript
from webui.core.settings import Settings
from webui.plugins.calls import Calls
from webui.plugins.infotext_fields import infotext_keys, recorded
from webui.plugins.script import (
    AlwaysOnScript,
    AlwaysVisible,
    GuardedScript,
    Script,
    ShapedScript,
    arguments_of,
)

KINDS_OF_OUR_OWN = frozenset({"lora", "lyco", "hypernet"})

Hooks = Mapping[str, Callable[..., Any]]


def read_addition(extension: str, hooks: Hooks, calls: Calls, taken: Sequence[Addition], *, is_own: bool = False) -> Addition:
    """Everything that one extension adds.  Raises whatever is wrong with it.

    hooks: its functions by hook.   taken: what others have added, whose titles and names are not to be had again.
    is_own: it is the program's, so that its scripts' errors need no extension's name, and the names of what it adds no mark.
    """

    def answer(hook: str) -> Any:
        return calls.call(extension, hook, hooks[hook], {}) if hook in hooks else None

    registered = answer("register_scripts") or ()
    scripts = tuple(registered) if is_own else tuple(_scripts(extension, registered, calls))
    _check_free("script", [one.title for one in scripts], [one.title for other in taken for one in other.scripts])
    settings = dict(answer("register_settings") or {})
    declared_model(f"{extension} settings", settings)
    _check_free("setting", settings, [*Settings.model_fields, *(name for other in taken for name in other.settings)])
    _check_keys(Addition(extension, scripts, settings), taken)
    syntax = _kinds("register_prompt_syntax", answer("register_prompt_syntax"))
    networks = _kinds("register_extra_network_kinds", answer("register_extra_network_kinds"))
    of_others = [kind for other in taken for kind in (*other.syntax, *other.network_kinds)]
    _check_free("kind of tag", [*syntax, *networks], [*KINDS_OF_OUR_OWN, *of_others])

    def named(hook: str, kind: type[Any]) -> tuple[Any, ...]:
        return _named(extension, hook, kind, answer(hook), is_own=is_own)

    return Addition(
        extension,
        scripts,
        settings,
        named("register_samplers", NewSampler),
        named("register_schedules", NewSchedule),
        named("register_upscalers", NewUpscaler),
        named("register_preprocessors", NewPreprocessor),
        syntax=syntax,
        network_kinds=networks,
        postprocessors=tuple(_with_valid_controls(one) for one in named("register_postprocessors", NewPostprocessor)),
        families=named("register_families", NewFamily),
    )


def read_assets(extension: str, folder: Path) -> Assets:
    """The files of an extension that the page loads. Links that lead out of its folder are left out."""

    def listed(place: str, *suffixes: str) -> tuple[str, ...]:
        found = sorted((folder / place).iterdir()) if (folder / place).is_dir() else []
        return tuple(file.relative_to(folder).as_posix() for file in found if file.suffix in suffixes and _is_inside(file, folder))

    style = folder / "style.css"
    return Assets(
        extension,
        folder,
        listed("javascript", ".js"),
        listed("javascript", ".mjs"),
        listed("localizations", ".json"),
        style=_is_inside(style, folder),
    )


def _is_inside(file: Path, folder: Path) -> bool:
    return file.is_file() and file.resolve().is_relative_to(folder.resolve())


def _scripts(extension: str, answered: Any, calls: Calls) -> list[Any]:
    if isinstance(answered, type) or not isinstance(answered, Sequence):
        raise TypeError("register_scripts: return a list of script objects")
    found: list[Any] = []
    for one in answered:
        if isinstance(one, CoreScript):
            found.append(GuardedScript(extension, one, calls))
        elif isinstance(one, Script):
            found.extend(_shaped(extension, one, calls))
        else:
            raise TypeError(
                f"register_scripts: {one!r} is no script; derive its class from webui.plugins.script.Script, and give an object"
            )
    return found


def _shaped(extension: str, script: Script, calls: Calls) -> list[Any]:
    shown = tuple(script.show(is_img2img=tab) for tab in (False, True))
    title = script.title()
    if not isinstance(title, str) or not title.strip():
        raise TypeError(f"a script's title is {title!r}; return its name")
    arguments = arguments_of(script)
    if AlwaysVisible in shown:
        return [AlwaysOnScript(extension, script, title, arguments, (shown[0] is AlwaysVisible, shown[1] is AlwaysVisible))]
    return [ShapedScript(extension, script, title, arguments, calls)] if any(shown) else []


def _named(extension: str, hook: str, kind: type[Any], answered: Any, *, is_own: bool) -> tuple[Any, ...]:
    """What is called by a name, under the name that it has outside."""
    found = []
    for one in answered or ():
        if not isinstance(one, kind):
            raise TypeError(f"{hook}: {one!r} is no {kind.__name__}; make it with webui.core.extension_points.{kind.__name__}")
        if not one.name.strip() or is_added(one.name):
            raise ValueError(f"{hook}: the name is {one.name!r}; give one without {MARK.strip()!r}")
        found.append(one if is_own else replace(one, name=f"{one.name.strip()}{MARK}{extension}"))
    _check_free("name", [one.name for one in found], [])
    return tuple(found)


def _with_valid_controls(one: NewPostprocessor) -> NewPostprocessor:
    """Raises TypeError, InvalidRequest."""
    declared_model(f"{one.name} controls", one.controls)
    if taken := {"image", "name", "tell"} & set(one.controls):
        raise ValueError(f"register_postprocessors: a control of {one.name!r} is called {min(taken)!r}, as what every step gets; rename it")
    return one


def _kinds(hook: str, answered: Any) -> dict[str, Callable[..., Any]]:
    kinds = dict(answered or {})
    for kind, function in kinds.items():
        if not isinstance(kind, str) or not kind.isidentifier() or not callable(function):
            raise TypeError(f"{hook}: {kind!r} is {function!r}; give a function for a kind of one word")
    return kinds


def _check_keys(new: Addition, taken: Sequence[Addition]) -> None:
    """The keys under which scripts' controls and settings stand in infotexts.  Raises ValueError."""

    def keys_of(addition: Addition) -> list[str]:
        scripts = (one for one in addition.scripts if isinstance(one, AlwaysOnScript))
        return [*(key for one in scripts for key in infotext_keys(one)), *recorded([addition])]

    keys, of_others = keys_of(new), [key for other in taken for key in keys_of(other)]
    ours = [one.infotext for model in (GenerationRequest, Settings) for one in parameters_of(model).values() if one.infotext]
    _check_free("key of infotexts", keys, [*BASE_KEYS, *ours, *of_others])
    if wrong := [key for key in keys if not is_key(key)]:
        raise ValueError(f"{wrong[0]!r} cannot be an infotext key; it takes up to 80 letters, digits, spaces, - and /")


def _check_free(what: str, names: Any, taken: Sequence[str]) -> None:
    seen = {name.lower() for name in taken}
    for name in names:
        if name.lower() in seen:
            raise ValueError(f"there is a {what} {name!r} already")
        seen.add(name.lower())

"""What a tab asks for: its controls by name, what a browser keeps of them, and the job that their values mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import gradio as gr
from gradio.components import Component

from webui.core.errors import InvalidRequest
from webui.core.record import picture_settings
from webui.core.request import GenerationRequest, read_request
from webui.core.settings import Settings
from webui.core.validation import keep_valid
from webui.ui.fields import declared, shown

# A control of this prefix and a setting's name sets that setting for the tab's jobs, unless it is left empty.
SETTING = "setting "
# The controls behind "Extra": without its tick they do not act, as in A1111.
SEED_EXTRAS = ("subseed", "subseed_strength", "seed_resize_from_w", "seed_resize_from_h")
# A picture's own parameters that have no control: a pasted value is kept beside the form, where it can be seen and removed.
WITHOUT_CONTROL = ("eta", "s_churn", "s_tmin", "s_tmax", "s_noise", "s_min_uncond", "disable_extra_networks")


class Section(Protocol):
    """A part of the form whose controls are not one for each parameter: what they ask for is read from them together."""

    @property
    def controls(self) -> Mapping[str, Component]:
        """Its controls, by names that nothing else in the form has."""
        ...

    def read(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The request's parameters that the controls' raw values ask for.  values: by control.   Raises InvalidRequest."""
        ...


@dataclass(frozen=True)
class SettingSection:
    """The control of one setting, empty where the setting shall count."""

    setting: str
    control: Component

    @property
    def controls(self) -> Mapping[str, Component]:
        """The control alone."""
        return {f"{SETTING}{self.setting}": self.control}

    def read(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Nothing: `read_form` puts it beside the request."""
        return {}


@dataclass(frozen=True)
class Form:
    """One tab's controls, and those above the tabs.

    fields: by the request's parameter.   extra: the tick that makes the seed's extras act.   styles: names of stored styles.
    overrides: settings and parameters that have no control, for this tab's jobs alone.   sections: further parts.
    """

    fields: Mapping[str, Component]
    extra: gr.Checkbox
    styles: gr.Dropdown
    overrides: gr.HTML
    sections: tuple[Section, ...] = ()

    @property
    def controls(self) -> Mapping[str, Component]:
        """Everything a job is made of, by name."""
        of_sections = {name: control for section in self.sections for name, control in section.controls.items()}
        return {**self.fields, "extra": self.extra, "styles": self.styles, "overrides": self.overrides, **of_sections}


@dataclass(frozen=True)
class Overrides:
    """What is set beside the form."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    request: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Wish:
    """What App.submit takes."""

    request: GenerationRequest
    overrides: Mapping[str, Any]
    styles: tuple[str, ...]


def read_form(values: Mapping[str, Any], sections: Sequence[Section] = ()) -> Wish:
    """The job that the controls' raw values ask for.  Raises InvalidRequest.

    values: by control; a control that is not among them is as it is declared.
    """
    overrides = read_overrides(values.get("overrides"))
    of_sections = {name: value for section in sections for name, value in section.read(values).items()}
    request = read_request({**_request_values(values), **of_sections, **overrides.request})
    settings = {name.removeprefix(SETTING): value for name, value in values.items() if name.startswith(SETTING) and value not in (None, "")}
    return Wish(request, {**overrides.settings, **settings}, read_names(values.get("styles")))


def read_form_leniently(values: Mapping[str, Any]) -> tuple[GenerationRequest, Mapping[str, Any]]:
    """The request and the settings beside it as far as they can be read, to compare something with. Never fails."""
    try:
        overrides = read_overrides(values.get("overrides"))
    except InvalidRequest:
        overrides = Overrides()
    accepted, _ = keep_valid({**_request_values(values), **overrides.request}, read_request)
    settings, _ = keep_valid(overrides.settings, Settings().changed)
    return GenerationRequest().changed(**accepted), settings


def read_overrides(value: Any) -> Overrides:
    """What a page keeps beside its form.  Raises InvalidRequest for a name that no page may set, wherever it comes from."""
    kept = value if isinstance(value, dict) else {}
    settings, request = (dict(kept[kind]) if isinstance(kept.get(kind), dict) else {} for kind in ("settings", "request"))
    refused = [*(settings.keys() - set(picture_settings())), *(request.keys() - set(WITHOUT_CONTROL))]
    if refused:
        raise InvalidRequest(f"Override settings: got {', '.join(map(repr, sorted(refused)))}, which a page cannot set. Remove it.")
    return Overrides(settings, request)


def read_names(value: Any) -> tuple[str, ...]:
    """The names in a multiselect's value."""
    return tuple(name for name in value if isinstance(name, str)) if isinstance(value, list | tuple) else ()


def read_stored(stored: Any, fields: Sequence[str], sections: Sequence[Section] = ()) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What a browser kept: the controls' values and the jobs it followed. Anything of another shape counts as nothing."""
    if not isinstance(stored, dict) or not isinstance(stored.get("fields"), dict):
        return {}, ()
    kept = stored["fields"]
    values = {name: shown(name, kept[name]) for name in fields if isinstance(kept.get(name), str | int | float)}
    values |= {name: kept[name] for section in sections for name, one in section.controls.items() if _can_show(one, kept.get(name))}
    try:
        read_overrides(kept.get("overrides"))
        values["overrides"] = kept.get("overrides")
    except InvalidRequest:
        values["overrides"] = None
    return values | {"extra": kept.get("extra") is True, "styles": list(read_names(kept.get("styles")))}, read_names(stored.get("jobs"))


def _can_show(control: Component, value: Any) -> bool:
    """Whether a kept value has a shape that this control may have. What it means is checked when the section is read."""
    if isinstance(control, gr.HTML):
        return isinstance(value, dict | list)
    return isinstance(value, list if getattr(control, "multiselect", False) or isinstance(control, gr.CheckboxGroup) else str | int | float)


def _request_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """The request's parameters among the values.

    An empty model dropdown leaves the choice to the settings; every other empty control is the user's mistake to hear of.
    """
    asked = {name: values[name] for name in GenerationRequest.model_fields if name in values}
    asked = {name: None if value == "" and declared(name).default is None else value for name, value in asked.items()}
    if not values.get("extra"):
        asked |= {name: declared(name).default for name in SEED_EXTRAS if name in asked}
    return {name: value for name, value in asked.items() if value is not None or name not in ("checkpoint", "vae")}

"""What the tabs' controls hold at first, and between which ends: ui-config.json laid over the declarations."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import gradio as gr
from gradio.components import Component

from webui.core.errors import InvalidRequest
from webui.core.parameters import parameters_of
from webui.core.request import GenerationRequest, read_request
from webui.core.ui_config import Entry, UiConfig, read_key, write_key
from webui.ui.fields import declared, shown
from webui.ui.form import Form, read_names, read_overrides

log = logging.getLogger(__name__)

# A1111's labels where they differ from ours, older ones among them, in small letters.
OTHER_LABELS: Mapping[str, str] = MappingProxyType({
    "only masked padding, pixels": "only masked padding", "inpaint at full resolution padding, pixels": "only masked padding",
    "sampler": "sampling method", "scheduler": "schedule type", "variation seed strength": "variation strength",
    "highres. fix": "hires. fix", "highres steps": "hires steps",
})  # fmt: skip
# A1111 keeps some of its form's own parts as scripts, by their files.
PARTS = ("seed.py", "sampler.py", "soft_inpainting.py")
SCRIPTS: Mapping[str, str] = MappingProxyType({
    "xyz_grid.py": "X/Y/Z plot", "prompt_matrix.py": "Prompt matrix", "prompts_from_file.py": "Prompts from file or textbox",
    "loopback.py": "Loopback", "sd_upscale.py": "SD upscale", "poor_mans_outpainting.py": "Poor man's outpainting",
    "outpainting_mk_2.py": "Outpainting mk2",
})  # fmt: skip
REFINER: Mapping[str, str] = MappingProxyType({"checkpoint": "refiner_checkpoint", "switch at": "refiner_switch_at"})
# A1111's tab img2img is several here; what it says of a control holds for each of them that has it.
IMG2IMG = ("img2img", "inpaint", "depth2img")
ENDS = ("minimum", "maximum", "step")


@dataclass(frozen=True)
class FormDefaults:
    """One tab's controls as ui-config.json names them.  form: of the tab `id`."""

    id: str
    form: Form

    @cached_property
    def labels(self) -> Mapping[str, str]:
        """The controls' names by what a key may call them, in small letters: their label, for the first one of it, or their name."""
        found: dict[str, str] = {}
        for name, control in self.form.controls.items():
            if self.label(name):
                found.setdefault(str(control.label).lower(), name)
        return {**found, **{name.lower(): name for name in self.form.controls}}

    def label(self, name: str) -> str:
        """A control's own label, "" where it has none or is of a script, whose labels others have too."""
        return "" if name.startswith("scripts/") else str(getattr(self.form.controls[name], "label", None) or "")

    def key(self, name: str) -> str:
        """The key of a control's value: by its label where that is its alone."""
        label = self.label(name)
        return write_key(self.id, label if label and self.labels.get(label.lower()) == name else name)

    def find(self, entry: Entry) -> str | None:
        """The control that an entry means."""
        label = entry.label.lower()
        if entry.script == "refiner.py":
            name = REFINER.get(label)
            return name if name in self.form.controls else None
        if entry.script and entry.script not in PARTS:
            begin = f"scripts/{SCRIPTS.get(entry.script)}/"
            controls = self.form.controls.items()
            return next((name for name, one in controls if name.startswith(begin) and str(one.label).lower() == label), None)
        return self.labels.get(label) or self.labels.get(OTHER_LABELS.get(label, label))

    def check(self, name: str, field: str, value: Any) -> Any:
        """What a control is given for an entry's value.  Raises InvalidRequest when it cannot have it."""
        control = self.form.controls[name]
        if field == "visible":
            if not isinstance(value, bool):
                raise InvalidRequest(f"got {value!r}; visible is true or false.")
            return value
        if field in ENDS:
            return _checked_end(control, name, field, value)
        if name in self.form.fields:
            return _checked_field(control, name, value)
        return _checked_control(control, name, value)


@dataclass(frozen=True)
class Meant:
    """An entry of the file and the control that it means."""

    key: str
    form: FormDefaults
    control: str
    field: str
    value: Any

    def checked(self) -> Any:
        """What the control is given for it.  Raises InvalidRequest."""
        return self.form.check(self.control, self.field, self.value)


@dataclass(frozen=True)
class Taken:
    """What became of another program's entries.  keys: what was taken.   same: how many are as here anyway.   refused: reason by key."""

    keys: tuple[str, ...]
    same: int
    refused: Mapping[str, str]


class TabDefaults:
    """ui-config.json and the tabs of one page."""

    def __init__(self, config: UiConfig, forms: Sequence[FormDefaults]) -> None:
        self._config = config
        self._forms = {one.id: one for one in forms}

    def lay_over(self) -> None:
        """Give the controls the ends and steps of the file, and hide what it hides. Once, before the page is served."""
        try:
            entries = self._config.entries()
        except InvalidRequest as error:
            log.warning("%s", error)
            return
        for meant in self._meant(entries):
            try:
                checked = meant.checked()
            except InvalidRequest as error:
                log.warning("ui-config.json: %s is left out: %s", meant.key, error)
                continue
            if meant.field != "value":
                setattr(meant.form.form.controls[meant.control], meant.field, checked)

    def values(self, tab: str) -> dict[str, Any] | None:
        """What a tab's controls hold in a browser that has no form of its own yet; None where the file says nothing of the tab."""
        found: dict[str, Any] = {}
        for meant in self._values_of(tab):
            with suppress(InvalidRequest):  # named when the page was built
                found[meant.control] = meant.checked()
        return found or None

    def has(self, tab: str) -> bool:
        """Whether the file says what a tab's controls hold."""
        return bool(self._values_of(tab))

    def save(self, tab: str, fields: Mapping[str, Any]) -> None:
        """Make these a tab's values.  fields: by control.   Raises InvalidRequest, OSError."""
        form, entries = self._forms[tab], {}
        for name, value in fields.items():
            control = form.form.controls.get(name)
            if control is None or value is None or (isinstance(control, gr.HTML) and name != "overrides"):
                continue
            try:
                entries[form.key(name)] = form.check(name, "value", value)
            except InvalidRequest as error:
                raise InvalidRequest(f"{form.label(name) or name}: {error}") from None
        self._config.change(entries, without=self._keys_of(tab))

    def forget(self, tab: str) -> None:
        """Let the program's own values of a tab count again.  Raises InvalidRequest, OSError."""
        self._config.change({}, without=self._keys_of(tab))

    def take(self, entries: Mapping[str, Any]) -> Taken:
        """Put another program's entries into the file, but for what is as here anyway.  Raises InvalidRequest, OSError."""
        taken: dict[str, Any] = {}
        same: set[str] = set()
        refused = dict.fromkeys(entries, "This program has no such control.")
        for meant in self._meant(entries, for_all=True):
            try:
                checked = meant.checked()
            except InvalidRequest as error:
                refused[meant.key] = str(error)
                continue
            refused.pop(meant.key, None)
            if checked == getattr(meant.form.form.controls[meant.control], meant.field, None):
                same.add(meant.key)
            else:
                taken[meant.form.key(meant.control).removesuffix("value") + meant.field] = checked
        if taken:
            self._config.change(taken)
        return Taken(tuple(taken), len(same), refused)

    def _values_of(self, tab: str) -> list[Meant]:
        try:
            entries = self._config.entries()
        except InvalidRequest:
            return []
        return [meant for meant in self._meant(entries) if meant.form.id == tab and meant.field == "value"]

    def _keys_of(self, tab: str) -> list[str]:
        return [meant.key for meant in self._meant(self._config.entries()) if meant.form.id == tab and meant.field == "value"]

    def _meant(self, entries: Mapping[str, Any], *, for_all: bool = False) -> Iterator[Meant]:
        """The entries that mean a control.  for_all: what is said of img2img holds for each tab that is a part of it in A1111."""
        for key, value in entries.items():
            entry = read_key(key)
            if entry is None:
                continue
            tabs = IMG2IMG if entry.tab == IMG2IMG[0] else (entry.tab,)
            for form in (self._forms[tab] for tab in tabs if tab in self._forms):
                if name := form.find(entry):
                    yield Meant(key, form, name, entry.field, value)
                    if not for_all:
                        break  # its own tab's control, or else that of the first tab which has one


def _checked_end(control: Component, name: str, field: str, value: Any) -> float:
    """An end or a step of a slider, within what is accepted at all."""
    if not isinstance(control, gr.Slider):
        raise InvalidRequest(f"this control has no {field}.")
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < float("inf"):
        raise InvalidRequest(f"got {value!r}; {field} is a number.")
    if field == "step" and value <= 0:
        raise InvalidRequest(f"got {value!r}; a step is more than 0.")
    one = parameters_of(GenerationRequest).get(name)
    lowest, highest = (one.minimum, one.maximum) if one else (control.minimum, control.maximum)
    if field != "step" and not (lowest is None or value >= lowest):
        raise InvalidRequest(f"got {value!r}; at least {lowest} is accepted.")
    if field != "step" and not (highest is None or value <= highest):
        raise InvalidRequest(f"got {value!r}; at most {highest} is accepted.")
    return value


def _checked_field(control: Component, name: str, value: Any) -> Any:
    """What the control of a request's parameter shows for a value."""
    _check_choice(control, value)
    if isinstance(value, bool) != (declared(name).type is bool):
        raise InvalidRequest(f"got {str(value)[:100]!r}; another kind of value belongs here.")
    meant = None if value == "" and declared(name).default is None else value
    return shown(name, getattr(read_request({name: meant}), name))


def _checked_control(control: Component, name: str, value: Any) -> Any:
    """The value of a control beside the request's parameters, of the type that it has."""
    if name == "overrides":
        read_overrides(value)
        return value
    if isinstance(control, gr.HTML):
        raise InvalidRequest("pictures and units are not kept.")
    if getattr(control, "multiselect", False) or isinstance(control, gr.CheckboxGroup):
        if not isinstance(value, list) or len(read_names(value)) != len(value):
            raise InvalidRequest(f"got {str(value)[:100]!r}; a list of names belongs here.")
    elif isinstance(control, gr.Checkbox) != isinstance(value, bool):
        wanted = "true or false" if isinstance(control, gr.Checkbox) else "another kind of value"
        raise InvalidRequest(f"got {str(value)[:100]!r}; {wanted} belongs here.")
    elif isinstance(control, gr.Slider | gr.Number):
        lowest, highest = getattr(control, "minimum", None), getattr(control, "maximum", None)
        if not isinstance(value, int | float) or not (lowest is None or value >= lowest) or not (highest is None or value <= highest):
            raise InvalidRequest(f"got {str(value)[:100]!r}; a number from {lowest} to {highest} belongs here.")
    elif not isinstance(value, str | bool):
        raise InvalidRequest(f"got {str(value)[:100]!r}; a text belongs here.")
    if name != "styles":
        _check_choice(control, value)
    return value


def _check_choice(control: Component, value: Any) -> None:
    """Refuse what a control with choices does not offer. Whose choices are found when the page opens may have any."""
    offered = [one[1] if isinstance(one, tuple | list) else one for one in getattr(control, "choices", None) or ()]
    if offered and not getattr(control, "allow_custom_value", False):
        for one in value if isinstance(value, list) else [value]:
            if one not in offered and not (one is None or one == ""):
                raise InvalidRequest(f"got {str(one)[:100]!r}, which is not offered.")

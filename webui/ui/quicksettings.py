"""The bar above the tabs: which checkpoint and VAE this page's requests name, and the values that suit a checkpoint."""

from __future__ import annotations

import html
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from webui.app import App
from webui.core.errors import WebuiError
from webui.ui.fields import declared, shown

log = logging.getLogger(__name__)

OWN_VAES = ("Automatic", "None")
FITTED = ("width", "height", "steps", "cfg_scale", "sampler", "schedule")


@dataclass(frozen=True)
class Quicksettings:
    """The bar's components."""

    checkpoint: gr.Dropdown
    refresh_checkpoints: gr.Button
    vae: gr.Dropdown
    refresh_vaes: gr.Button

    @property
    def fields(self) -> Mapping[str, Component]:
        """The request's parameters that are chosen here."""
        return {"checkpoint": self.checkpoint, "vae": self.vae}


@dataclass(frozen=True)
class Offer:
    """What a dropdown offers, as (shown, meant) pairs, and what is chosen."""

    choices: tuple[tuple[str, str], ...]
    value: str | None

    def update(self) -> dict[str, Any]:
        """As gradio wants to hear it."""
        return gr.update(choices=list(self.choices), value=self.value)


def build_quicksettings() -> Quicksettings:
    """Lay the bar out; the names are filled in when a page opens."""
    with gr.Row(elem_id="quicksettings"):
        with gr.Row(elem_classes="with-button"):
            checkpoint = gr.Dropdown([], label="Checkpoint", elem_id="setting_sd_model_checkpoint", interactive=True)
            refresh_checkpoints = icon_button("Look for new checkpoints", "refresh", "refresh_sd_model_checkpoint")
        with gr.Row(elem_classes="with-button"):
            vae = gr.Dropdown([], label="VAE", elem_id="setting_sd_vae", interactive=True)
            refresh_vaes = icon_button("Look for new VAE files", "refresh", "refresh_sd_vae")
    return Quicksettings(checkpoint, refresh_checkpoints, vae, refresh_vaes)


def icon_button(name: str, icon: str, elem_id: str) -> gr.Button:
    """A small square button that shows an icon and says its name to screen readers and pointers that rest on it."""
    return gr.Button(name, elem_id=elem_id, elem_classes=["icon-button", f"icon-{icon}"], scale=0, min_width=40)


def offer_checkpoints(app: App, wanted: str | None) -> Offer:
    """The checkpoints there are; `wanted` stays chosen if it still exists, else the one of the settings, else the default."""
    checkpoints = app.catalog.checkpoints()
    names = {checkpoint.name for checkpoint in checkpoints}
    choices = tuple((app.catalog.title(checkpoint), checkpoint.name) for checkpoint in checkpoints)
    return Offer(choices, wanted if wanted in names else _default_checkpoint(app))


def offer_vaes(app: App, wanted: str | None) -> Offer:
    """The VAE files there are, after A1111's two standing choices."""
    names = [*OWN_VAES, *(vae.name for vae in app.catalog.vaes())]
    chosen = next((name for name in (wanted, app.settings.snapshot().sd_vae) if name in names), OWN_VAES[0])
    return Offer(tuple((name, name) for name in names), chosen)


def connect_refreshing(app: App, bar: Quicksettings) -> None:
    """Make the refresh buttons look at the disk again. Checkpoints that cannot be used are named with their reason."""

    def on_checkpoints(chosen: str | None) -> dict[str, Any]:
        app.catalog.refresh()
        for broken in app.catalog.broken():
            gr.Warning(html.escape(f"{broken.name}: {broken.reason}"), title="A file cannot be used")
        return offer_checkpoints(app, chosen).update()

    def on_vaes(chosen: str | None) -> dict[str, Any]:
        app.catalog.refresh()
        return offer_vaes(app, chosen).update()

    for button, handler, target in (
        (bar.refresh_checkpoints, on_checkpoints, bar.checkpoint),
        (bar.refresh_vaes, on_vaes, bar.vae),
    ):
        # Through gradio's queue, the only way by which it delivers warnings; any number at once.
        button.click(handler, target, target, show_progress="hidden", api_visibility="private", preprocess=False, concurrency_limit=None)


def fitting_values(app: App, checkpoint: str | None) -> dict[str, Any]:
    """Values that suit a checkpoint; the request's own defaults where there is none or it says nothing."""
    values = {name: declared(name).default for name in FITTED}
    try:
        known = app.catalog.defaults(app.catalog.find_checkpoint(checkpoint or ""))
    except WebuiError:
        return values
    return values | {name: value for name, value in known.items() if name in values}


def refit(current: Mapping[str, Any], fitted: Mapping[str, Any], fitting: Mapping[str, Any]) -> dict[str, Any]:
    """The values to show after another checkpoint was chosen.

    fitted: what was last set for a checkpoint. A value that differs from it was changed by hand, and stays.
    """
    return {name: shown(name, fitting[name] if current.get(name) == fitted.get(name) else current.get(name)) for name in FITTED}


def _default_checkpoint(app: App) -> str | None:
    for name in (app.settings.snapshot().sd_model_checkpoint, ""):
        try:
            return app.catalog.find_checkpoint(name).name
        except WebuiError as error:
            log.info("no default checkpoint by the name %r: %s", name, error)
    return None

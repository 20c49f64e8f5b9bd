"""The refiner's part of a form: a second checkpoint that draws the last steps."""

from __future__ import annotations

import gradio as gr

from webui.app import App
from webui.ui.tab_parts import Parts

REFINER = ("refiner_checkpoint", "refiner_switch_at")
SAYS_WHICH = "(checkpoint, at) => ({__type__: 'update', label: checkpoint ? `Refiner: ${checkpoint} from ${at}` : 'Refiner'})"


def build_refiner(app: App, parts: Parts) -> None:
    """Lay the section out, with the checkpoints there are now."""
    with gr.Accordion("Refiner", open=False, elem_id=parts.id("refiner")) as section, gr.Row(elem_classes="pair"):
        parts.add("refiner_checkpoint", choices=checkpoint_choices(app, "None"), min_width=130)
        parts.add("refiner_switch_at", min_width=130)
    controls = [parts.fields[name] for name in REFINER]
    gr.on([control.change for control in controls], None, controls, section, js=SAYS_WHICH)


def checkpoint_choices(app: App, none: str) -> list[tuple[str, str]]:
    """The checkpoints, as (shown, meant), after the choice of none.  none: what that one is called."""
    return [(none, ""), *((app.catalog.title(one), one.name) for one in app.catalog.checkpoints())]

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
        add_checkpoints(app, parts, "refiner_checkpoint", "None")
        parts.add("refiner_switch_at", min_width=130)
    controls = [parts.fields[name] for name in REFINER]
    gr.on([control.change for control in controls], None, controls, section, js=SAYS_WHICH)


def add_checkpoints(app: App, parts: Parts, name: str, none: str) -> None:
    """Lay a choice of the checkpoints out; files may come after the page was built.  none: what the choice of none is called."""

    def choices() -> list[tuple[str, str]]:
        return [(none, ""), *((app.catalog.title(one), one.name) for one in app.catalog.checkpoints())]

    parts.add(name, choices=choices(), min_width=130)
    offered = parts.fields[name]
    offered.focus(lambda: gr.update(choices=choices()), None, offered, queue=False, show_progress="hidden", api_visibility="private")  # type: ignore[attr-defined]

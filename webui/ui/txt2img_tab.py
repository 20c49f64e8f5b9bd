"""The txt2img tab: a picture from noise, and a finished one again, larger."""

from __future__ import annotations

from typing import Any

from webui.app import App
from webui.ui.generate import Followed, submit
from webui.ui.hires_section import draw_again_with_hires, hires_names
from webui.ui.tab import QUIET, Mode, Tab

TXT2IMG = Mode("txt2img")


def connect_hires_this(app: App, tab: Tab) -> None:
    """Make the results' button for a hires fix act; the page's script says which picture is meant."""
    names = [name for name in hires_names() if name in tab.form.fields]

    def on_hires(current: Followed, *values: Any) -> Followed:
        chosen = dict(zip(names, values, strict=True))
        return submit(app, lambda: draw_again_with_hires(app, current.get("picture"), chosen), current, tab=tab.id)

    tab.results.hires(
        on_hires, [tab.results, *(tab.form.fields[name] for name in names)], tab.results, preprocess=False, trigger_mode="multiple",
        js="(followed, ...values) => window.webui.pictureForHires(followed, values)", **QUIET,
    )  # fmt: skip

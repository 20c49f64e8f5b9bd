"""A prompt's text box, with its token counter and what the prompt language would take otherwise than it looks."""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.components import Component

from webui.app import App
from webui.core.errors import InvalidRequest
from webui.core.prompt_problems import problems
from webui.core.styles import apply_styles
from webui.ui.fields import field
from webui.ui.styles_bar import chosen_styles

PROBLEMS_SHOWN = 3
QUOTED = 30


def build_prompt_box(app: App, name: str, *, tab: str, placeholder: str) -> Component:
    """Lay a tab's box out.  name: "prompt" or "negative_prompt"."""
    counter_id = f"{tab}_{name.removesuffix('prompt')}token_counter"
    of_box = f"{tab!r}, {name!r}"

    def check(query: dict[str, Any]) -> dict[str, Any]:
        text = str(query.get("text", ""))
        return {"tokens": count_tokens(app, name, text, query.get("styles")), **describe_problems(text)}

    with gr.Column(elem_classes="prompt-box"):
        box = field(name, tab=tab, lines=3, max_lines=12, placeholder=placeholder, elem_classes="prompt", container=True)
        gr.HTML(
            value=None, html_template='<ul class="problems" aria-label="Remarks on this prompt"></ul>', elem_id=f"{tab}_{name}_problems",
            elem_classes="no-room", js_on_load=f"window.webui.addProblems({of_box}, element)", apply_default_css=False,
        )  # fmt: skip
        gr.HTML(
            value=None, html_template='<span class="token-counter" aria-live="off">0/75</span>', elem_id=counter_id,
            server_functions=[check], js_on_load=f"window.webui.addTokenCounter({of_box}, element, server)", apply_default_css=False,
        )  # fmt: skip
    return box


def count_tokens(app: App, name: str, text: str, styles: Any) -> list[int] | None:
    """Tokens used and room, with the styles that will be put around the prompt; None while the engine cannot tell yet."""
    if not app.engine_ready:
        return None
    is_negative = name == "negative_prompt"
    try:
        whole = apply_styles("" if is_negative else text, text if is_negative else "", chosen_styles(app, styles))[is_negative]
    except InvalidRequest:
        whole = text
    return list(app.engine.count_tokens(whole))


def describe_problems(text: str) -> dict[str, Any]:
    """The first few problems, each with the words it stands in and its place in UTF-16 units, as a browser counts; and how many more."""
    found = problems(text)
    return {
        "problems": [
            {
                "start": _utf16(text[: one.start]),
                "end": _utf16(text[: one.end]),
                "quote": quote(text, one.start, one.end),
                "message": one.message,
            }
            for one in found[:PROBLEMS_SHOWN]
        ],
        "more": max(0, len(found) - PROBLEMS_SHOWN),
    }


def quote(text: str, start: int, end: int) -> str:
    """The piece in one line, with a little of what is around it when it is too short to be found by."""
    around = max(0, (QUOTED - (end - start)) // 3)
    first, last = max(0, start - around), min(len(text), end + around, start + QUOTED)
    return f"{'…' if first else ''}{' '.join(text[first:last].split())}{'…' if last < len(text) else ''}"


def _utf16(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2

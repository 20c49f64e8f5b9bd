"""What prompts are completed with, and the settings of the keys that edit them: told to the page's scripts when they ask."""

from __future__ import annotations

from typing import Any

import gradio as gr

from webui.app import App
from webui.core.tag_files import TagFiles
from webui.core.wildcard_files import WildcardFolder

KEY_SETTINGS = (
    "keyedit_precision_attention", "keyedit_precision_extra", "keyedit_delimiters", "keyedit_delimiters_whitespace", "keyedit_move",
)  # fmt: skip


def build_prompt_words(app: App) -> gr.HTML:
    """The element by which the page's scripts ask; nothing is to be seen of it."""
    tag_files, wildcards = TagFiles(app.paths.tags), WildcardFolder(app.paths.wildcards)

    def words(query: dict[str, Any]) -> dict[str, Any]:
        return known_words(app, tag_files, wildcards, seen=str(query.get("seen")))

    def key_settings(_: Any) -> dict[str, Any]:
        return app.settings.snapshot().model_dump(include=set(KEY_SETTINGS))

    return gr.HTML(
        value=None, html_template="", elem_id="prompt_words", elem_classes="no-room", apply_default_css=False,
        server_functions=[words, key_settings], js_on_load="window.webui.addPromptWords(server)",
    )  # fmt: skip


def known_words(app: App, tag_files: TagFiles, wildcards: WildcardFolder, *, seen: str) -> dict[str, Any]:
    """Names of models and wildcards, and the tags unless the page has them.

    seen: the key of the tags it has.   Returns: "tags" as [name, category, count, other names], or None, with their "key".
    """
    tags = tag_files.tags()
    key = f"{len(tags)} {hash(tags)}"
    catalog = app.catalog
    return {
        "loras": [lora.alias if catalog.lora_named(lora.alias) is lora else lora.stem for lora in catalog.loras()],
        "hypernets": [file.stem for file in catalog.hypernetworks()],
        "embeddings": [file.stem for file in catalog.embeddings()],
        "wildcards": list(wildcards.names()),
        "tags": None if key == seen else [[tag.name, tag.category, tag.count, tag.others] for tag in tags],
        "key": key,
    }

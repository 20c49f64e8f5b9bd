"""Features of this program that are made as an extension's would be: of hooks alone. The host registers them as it registers extensions.

They are not third-party, so `--safe-mode` keeps them, and their names have no mark.
"""

from __future__ import annotations

from collections.abc import Mapping

from webui.core.styles import StyleStore
from webui.core.wildcards import Wildcards
from webui.plugins import scripts
from webui.plugins.own import cropping
from webui.plugins.own.prompts import CommentsPlugin, StylesPlugin, WildcardsPlugin


def own_plugins(styles: StyleStore, wildcards: Wildcards) -> Mapping[str, object]:
    """By name, the last one called first: of the prompts' plugins, styles, then comments, then wildcards."""
    return {
        "scripts": scripts,
        "wildcards": WildcardsPlugin(wildcards),
        "comments": CommentsPlugin(),
        "styles": StylesPlugin(styles),
        "cropping": cropping,
    }

"""The scripts of this program. An extension's have the same shape (webui/core/scripts.py)."""

from __future__ import annotations

from typing import Any

from webui.core.scripts import Script
from webui.plugins.hookspecs import hookimpl
from webui.plugins.scripts.loopback import Loopback
from webui.plugins.scripts.outpainting import Outpainting
from webui.plugins.scripts.outpainting_mk2 import OutpaintingMk2
from webui.plugins.scripts.prompt_matrix import PromptMatrix
from webui.plugins.scripts.prompts_from_file import PromptsFromFile
from webui.plugins.scripts.sd_upscale import SdUpscale
from webui.plugins.scripts.xyz_plot import XyzPlot


@hookimpl
def register_scripts() -> tuple[Script[Any], ...]:
    """In the order they are shown."""
    return (XyzPlot(), PromptMatrix(), PromptsFromFile(), Loopback(), SdUpscale(), Outpainting(), OutpaintingMk2())

"""How pictures are saved."""

from __future__ import annotations

import re

from pydantic import field_validator

from webui.core.errors import InvalidRequest
from webui.core.parameters import Declared, parameter
from webui.core.picture_formats import SAVED_AS


class SavingSettings(Declared):
    """Files, their names and what is written into them."""

    samples_save: bool = parameter(
        True, title="Always save pictures", help="Save every picture drawn in the browser.", section="Saving images"
    )
    samples_format: str = parameter(
        "png", title="File format of pictures", choices=tuple(SAVED_AS), section="File formats",
        help="PNG keeps every pixel. What is too large for another format, or says too much for a JPEG, is saved as PNG.",
    )  # fmt: skip
    grid_format: str = parameter("png", title="File format of grids", choices=tuple(SAVED_AS), help="As above.", section="File formats")
    jpeg_quality: int = parameter(
        80, title="Quality", help="Of all formats but PNG: 1 is the smallest file, 100 the best picture.", minimum=1, maximum=100, step=1,
        section="File formats",
    )  # fmt: skip
    webp_lossless: bool = parameter(
        False, title="WebP without loss", help="Keeps every pixel, in a smaller file than PNG.", section="File formats"
    )
    enable_pnginfo: bool = parameter(
        True, title="Write infotext into pictures", help="So that a picture says how it was made.", section="Saving images"
    )
    save_to_dirs: bool = parameter(True, title="Save into subfolders", help="Named by the pattern below.", section="Saving images")
    directories_filename_pattern: str = parameter(
        "[date]", title="Subfolder pattern", help="[date], [model_name], [seed], ...", max_length=200, section="Saving images"
    )
    samples_filename_pattern: str = parameter(
        "", title="File name pattern", help="Empty: number and seed.  [seed], [steps], [cfg], ...", max_length=200, section="Saving images"
    )
    grid_save: bool = parameter(
        True, title="Always save grids", help="Save the picture of all pictures of a job, where one is made.", section="Saving images"
    )
    grid_save_to_dirs: bool = parameter(
        True, title="Save grids into subfolders", help="Named as those of pictures.", section="Saving images"
    )
    grid_only_if_multiple: bool = parameter(
        True, title="No grid of one picture", help="Make a grid only of several pictures.", section="Saving images"
    )
    grid_prevent_empty_spots: bool = parameter(
        False, title="No empty spots in a grid", help="Rather have it longer than square.", section="Saving images"
    )
    n_rows: int = parameter(
        -1, title="Rows of a grid", help="-1: as square as can be; 0: as many as a batch has pictures.", minimum=-1, maximum=16, step=1,
        section="Saving images",
    )  # fmt: skip

    @field_validator("directories_filename_pattern", "samples_filename_pattern")
    @classmethod
    def _stays_inside_outputs(cls, value: str) -> str:
        if re.match(r"[/\\]|[A-Za-z]:", value) or ".." in re.split(r"[/\\]", value):
            raise InvalidRequest(f"File name pattern: got {value!r}; it must stay inside outputs/: no '..', no drive, no '/' at the start.")
        return value

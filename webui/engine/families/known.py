"""All families, in the order in which they are asked whether a file is theirs."""

from __future__ import annotations

from webui.engine.families.base import Family
from webui.engine.families.sd1 import SD1
from webui.engine.families.sd2 import SD2
from webui.engine.families.sdxl import SDXL
from webui.engine.families.sdxl_refiner import SDXL_REFINER
from webui.engine.loading import TensorFile

FAMILIES = (SDXL, SDXL_REFINER, SD2, SD1)


def family_of(file: TensorFile) -> Family:
    """The family of a checkpoint. A file that no family knows is taken for SD 1.x, whose reading tells what is missing."""
    return next(family for family in FAMILIES if family.recognises(file.names))

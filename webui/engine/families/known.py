"""All families, in the order in which they are asked whether a file is theirs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from webui.catalog.families import added_family
from webui.core.errors import ExtensionFailed
from webui.core.extension_points import NewFamily
from webui.engine.families.base import Family
from webui.engine.families.sd1 import SD1
from webui.engine.families.sd2 import SD2
from webui.engine.families.sdxl import SDXL
from webui.engine.families.sdxl_refiner import SDXL_REFINER
from webui.engine.loading import TensorFile

FAMILIES = (SDXL, SDXL_REFINER, SD2, SD1)


def family_of(file: TensorFile, added: Sequence[NewFamily] = ()) -> Family:
    """The family of a checkpoint. A file that no family knows is taken for SD 1.x, whose reading tells what is missing.

    added: those of extensions, for files that the program's own do not draw.   Raises ExtensionFailed when one of them cannot be built.
    """
    if added and (new := added_family(file.shapes, added)):
        family = new.build()
        if not isinstance(family, Family):
            raise ExtensionFailed(f"{new.name} built a {type(family).__name__}; build a webui.engine.families.base.Family.")
        return replace(family, name=new.name)
    return next(family for family in FAMILIES if family.recognises(file.names))

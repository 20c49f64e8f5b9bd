"""The request values that fit a checkpoint: what its metadata says, else its family's own."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from webui.core.errors import InvalidRequest
from webui.core.request import read_request

log = logging.getLogger(__name__)

SD1: Mapping[str, Any] = MappingProxyType({
    "width": 512, "height": 512, "steps": 20, "cfg_scale": 7.0, "sampler": "DPM++ 2M", "schedule": "Automatic",
})  # fmt: skip
SDXL_SIZE = 1024


def read_defaults(name: str, metadata: Mapping[str, str], family: str = "sd1") -> dict[str, Any]:
    """Values of GenerationRequest fields; each comes from the metadata key "default_<field>" if its text is a valid value.

    name: the checkpoint's, for the log line about a value that is ignored.
    """
    values = dict(SD1)
    if family.startswith("sdxl"):
        values |= {"width": SDXL_SIZE, "height": SDXL_SIZE}
    for field in SD1:
        text = metadata.get(f"default_{field}")
        if text is None:
            continue
        try:
            values[field] = getattr(read_request({field: text}), field)
        except InvalidRequest as error:
            log.warning("%s: its metadata's default_%s is ignored. %s", name, field, error)
    return values

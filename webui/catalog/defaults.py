"""The request values that fit a checkpoint: what its metadata says, else its family's own."""

from __future__ import annotations

import logging
import re
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
# Distilled models draw in a few steps and without, or nearly without, guidance. What a file is distilled by, shapes do not tell: its
# metadata or its name does. Values as their makers give them: SDXL Turbo and SD Turbo 1 to 4 steps at CFG 1, Lightning and Hyper 4 to 8
# steps at CFG 1 with "SGM Uniform", LCM 4 to 8 steps at CFG 1 to 2.
DISTILLED: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("turbo", MappingProxyType({"steps": 4, "cfg_scale": 1.0, "sampler": "Euler a", "width": 512, "height": 512})),
    ("lightning", MappingProxyType({"steps": 6, "cfg_scale": 1.0, "sampler": "Euler", "schedule": "SGM Uniform"})),
    ("hyper", MappingProxyType({"steps": 8, "cfg_scale": 1.0, "sampler": "Euler", "schedule": "SGM Uniform"})),
    ("lcm", MappingProxyType({"steps": 6, "cfg_scale": 1.5, "sampler": "LCM", "schedule": "Automatic"})),
)
_SAYING = ("modelspec.title", "modelspec.architecture", "modelspec.description", "ss_output_name")


def read_defaults(
    name: str, metadata: Mapping[str, str], family: str = "sd1", notes: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """Values of GenerationRequest fields: those noted by the user, else the metadata's "default_<field>", else those of its kind.

    name: the checkpoint's, by which distilled ones are known, and for the log line about a value that is ignored.
    """
    values = dict(SD1)
    if family.startswith("sdxl"):
        values |= {"width": SDXL_SIZE, "height": SDXL_SIZE}
    values |= _distilled(name, metadata)
    for field in SD1:
        for source, given in (("notes", notes.get(field)), ("metadata", metadata.get(f"default_{field}"))):
            if given is None:
                continue
            try:
                values[field] = getattr(read_request({field: given}), field)
                break
            except InvalidRequest as error:
                log.warning("%s: the default_%s of its %s is ignored. %s", name, field, source, error)
    return values


def _distilled(name: str, metadata: Mapping[str, str]) -> Mapping[str, Any]:
    said = " ".join((name, *(metadata.get(key, "") for key in _SAYING))).lower()
    words = set(re.split(r"[^a-z]+", said))
    return next((values for word, values in DISTILLED if word in words), MappingProxyType({}))

"""LoRAs that have another name here than where a picture was drawn: known by the hashes in its infotext, as A1111 knows them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from webui.core.extra_networks import find_networks
from webui.core.infotext import read_infotext
from webui.core.infotext_apply import Pasted

# Takes a name and a hash of 12 digits or fewer; gives the name that the file of that hash has here, None where that is the same or unknown.
FindLora = Callable[[str, str], str | None]

KINDS = ("lora", "lyco")
PROMPTS = ("prompt", "hr_prompt")
_HASH = re.compile("[0-9a-fA-F]{6,12}")


def rename_loras(pasted: Pasted, infotext: str, find: FindLora) -> Pasted:
    """The same paste with the tags of LoRAs under the names that their files have here, and a remark on each."""
    told = read_infotext(infotext).get("Lora hashes", "")
    pairs = (pair.rpartition(":") for pair in str(told).split(","))
    wanted = {name.strip(): digits.strip().lower() for name, _, digits in pairs if _HASH.fullmatch(digits.strip())}
    names = {name: found for name, digits in wanted.items() if (found := find(name, digits))}
    if not names:
        return pasted
    changes: dict[str, Any] = dict(pasted.request_changes)
    changes |= {field: _renamed(changes[field], names) for field in PROMPTS if field in changes}
    if "prompts" in changes:
        changes["prompts"] = tuple(_renamed(prompt, names) for prompt in changes["prompts"])
    remarks = (f"The LoRA {name[:200]!r} is called {found!r} here." for name, found in names.items())
    return replace(pasted, request_changes=changes, remarks=(*pasted.remarks, *remarks))


def _renamed(prompt: str, names: Mapping[str, str]) -> str:
    pieces, copied = [], 0
    for start, end, tag in find_networks(prompt):
        # A1111 leaves out of a name in that list what would part the list.
        if tag.kind in KINDS and (name := names.get(tag.name.replace(",", ""))):
            kind, *items = prompt[start + 1 : end - 1].split(":")
            place = next(place for place, item in enumerate(items) if item.count("=") != 1)
            pieces.append(f"{prompt[copied:start]}<{':'.join((kind, *items[:place], name, *items[place + 1 :]))}>")
            copied = end
    return "".join((*pieces, prompt[copied:]))

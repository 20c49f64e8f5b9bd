"""Extra networks in a prompt, <kind:name:argument:key=value>: found, taken out, and read. Loading them is the engine's.

Tags are removed before anything else of the prompt is read, as in A1111. Beyond A1111 a tag within prompt editing,
"[<lora:a:1>:<lora:b:1>:0.5]", acts in its steps only, and a weight may change with the steps, "<lora:a:0@0,1@0.5>".
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from webui.core.errors import InvalidRequest
from webui.core.prompt_schedule import places_timeline

# Possessive: a long word is read once.
_OPENING = re.compile(r"<(\w++):")
_POINT_ENDS = re.compile(r"[,;]")


@dataclass(frozen=True)
class NetworkTag:
    """One tag: its kind ("lora"), its name, the arguments behind the name, and those written key=value, each key once."""

    kind: str
    name: str
    positional: tuple[str, ...] = ()
    named: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return f"<{':'.join((self.kind, self.name, *self.positional, *(f'{key}={value}' for key, value in self.named)))}>"


@dataclass(frozen=True)
class NetworkSegment:
    """The networks that act up to and with a step; steps are model calls counted from 1."""

    last_step: int
    tags: tuple[NetworkTag, ...]


@dataclass(frozen=True)
class Curve:
    """A weight over the steps: linear between its points, constant before the first and behind the last.

    points: (part of the steps, weight), at least one, ascending; of two at the same part the second counts there and later.
    """

    points: tuple[tuple[float, float], ...]

    def at(self, fraction: float) -> float:
        """The weight when this part of the steps, 0 to 1, is done."""
        later = bisect_right(self.points, fraction, key=lambda point: point[0])
        if later in (0, len(self.points)):
            return self.points[max(later - 1, 0)][1]
        (start, low), (end, high) = self.points[later - 1 : later + 1]
        return low + (high - low) * (fraction - start) / (end - start)


@dataclass(frozen=True)
class LoraWish:
    """What a <lora:...> tag asks for.

    te, unet: weights for the text encoder and the UNet.   dyn: use only so many of its dimensions; None: all.
    """

    name: str
    te: Curve
    unet: Curve
    dyn: int | None = None


@dataclass(frozen=True)
class HypernetWish:
    """What a <hypernet:...> tag asks for."""

    name: str
    strength: Curve


def find_networks(prompt: str) -> Iterator[tuple[int, int, NetworkTag]]:
    """Each tag with where it begins and ends, of whatever kind. It ends at the next ">", and may hold "<" and line feeds."""
    start = 0
    while opening := _OPENING.search(prompt, start):
        end = prompt.find(">", opening.end())
        if end < 0:
            return
        start = opening.end()
        if end == start:
            continue
        items = [item.split("=") for item in prompt[start:end].split(":")]
        plain = ["=".join(item) for item in items if len(item) != 2]
        named = dict(item for item in items if len(item) == 2)
        yield opening.start(), end + 1, NetworkTag(opening[1], "".join(plain[:1]), tuple(plain[1:]), tuple(named.items()))
        start = end + 1


def take_networks(prompt: str) -> tuple[str, tuple[NetworkTag, ...]]:
    """The prompt without its tags, and the tags in order, whatever their kind. What is around a tag stays, spaces too."""
    text, _, tags = _take(prompt)
    return text, tuple(tags)


def networks_timeline(
    prompt: str, steps: int, *, hires_steps: int | None = None, old: bool = False
) -> tuple[str, tuple[NetworkSegment, ...]]:
    """The prompt as `take_networks` leaves it, and which tags act in which steps; arguments and errors as prompt_schedule.timeline.

    Brackets are read as they stand without the tags. Neighbouring segments differ; if no tag is within prompt editing there is one.
    """
    text, places, tags = _take(prompt)
    segments: list[NetworkSegment] = []
    for last_step, indices in places_timeline(text, places, steps, hires_steps=hires_steps, old=old):
        acting = tuple(tags[index] for index in indices)
        if segments and segments[-1].tags == acting:
            segments.pop()
        segments.append(NetworkSegment(last_step, acting))
    return text, tuple(segments)


def read_lora_tag(tag: NetworkTag) -> LoraWish:
    """What <lora:name:te:unet:dyn> asks for; te=, unet= and dyn= come before the places. te is 1 if not given, unet as te.

    Raises InvalidRequest for what is no number; then the tag cannot be followed.
    """
    te = _argument(tag, "te", 0, "1")
    unet = _argument(tag, "unet", 1, te)
    dyn = _argument(tag, "dyn", 2, "0")
    try:
        dimensions = int(dyn) or None
    except ValueError:
        raise InvalidRequest(f"{tag}: got {dyn!r} for dyn; it is a whole number, how many of its dimensions to use.") from None
    return LoraWish(_name(tag), _read_curve(tag, "te", te), _read_curve(tag, "unet", unet), dimensions)


def read_hypernet_tag(tag: NetworkTag) -> HypernetWish:
    """What <hypernet:name:strength> asks for; 1 if not given.  Raises InvalidRequest for what is no number."""
    return HypernetWish(_name(tag), _read_curve(tag, "strength", _argument(tag, "strength", 0, "1")))


def _argument(tag: NetworkTag, key: str, index: int, default: str) -> str:
    return dict(tag.named).get(key, tag.positional[index] if index < len(tag.positional) else default)


def _name(tag: NetworkTag) -> str:
    if not tag.name:
        raise InvalidRequest(f"{tag}: it names no file; write <{tag.kind}:name:1>.")
    return tag.name


def _read_curve(tag: NetworkTag, argument: str, text: str) -> Curve:
    """A number, or weight@part,weight@part,...; a weight without a part stands at the end, as in sd-webui-loractl."""
    points = []
    for point in _POINT_ENDS.split(text):
        weight, at, part = point.partition("@")
        try:
            position, value = float(part) if at else 1.0, float(weight)
        except ValueError:
            position, value = math.nan, math.nan
        if not (0 <= position <= 1 and math.isfinite(value)):
            raise InvalidRequest(
                f"{tag}: got {point!r} for {argument}; it is a number, or several with the part of the steps, 0 to 1, "
                "at which each is reached, like 0@0,1@0.5."
            )
        points.append((position, value))
    return Curve(tuple(sorted(points, key=lambda point: point[0])))


def _take(prompt: str) -> tuple[str, list[int], list[NetworkTag]]:
    """The prompt without its tags; where in it each tag was, as the number of characters before; and the tags."""
    texts: list[str] = []
    places: list[int] = []
    tags: list[NetworkTag] = []
    copied, length = 0, 0
    for start, end, tag in find_networks(prompt):
        texts.append(prompt[copied:start])
        length += start - copied
        copied = end
        places.append(length)
        tags.append(tag)
    return "".join((*texts, prompt[copied:])), places, tags

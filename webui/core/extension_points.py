"""What an extension adds to the program, as plain values. The engine, the API and the page take them from the host of the extensions.

A name that an extension adds ends in " @ " and the extension's folder, as in "Midpoint @ my_extension": two extensions cannot take
each other's names, and the text beside a picture says who has to be installed to draw it again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MARK = " @ "

# Given the UNet of a job, a context in which it is changed.
Patch = Callable[[Any], AbstractContextManager[Any]]


def is_added(name: str) -> bool:
    """Whether a name is one that an extension adds."""
    head, mark, tail = name.rpartition(MARK)
    return bool(mark and head.strip() and tail.strip())


@dataclass(frozen=True)
class NamedPatch:
    """A patch with the extension that it comes from, whose name is in its errors."""

    extension: str
    enter: Patch


@dataclass(frozen=True)
class NewSampler:
    """A sampling method on noise levels.

    sample: a generator function that takes any of `x` (B, C, h, w), `sigmas` (n + 1,) falling, `draw` (fresh noise of x's shape, called
    without arguments) and `eta`; it yields webui.engine.samplers.Denoise and returns the latents.
    calls: how often it asks for each step.
    """

    name: str
    sample: Callable[..., Any]
    calls: int = 1


@dataclass(frozen=True)
class NewSchedule:
    """A spacing of noise levels.

    spacing: takes any of `steps`, `sigma_min`, `sigma_max`; gives steps + 1 falling numbers, the last of them 0 as a rule.
    """

    name: str
    spacing: Callable[..., Sequence[float]]


@dataclass(frozen=True)
class NewUpscaler:
    """A way to make pictures larger.

    enlarge: takes any of `image` (RGB), `width`, `height`; gives a picture. Another size than the one asked for is brought to it.
    """

    name: str
    enlarge: Callable[..., Any]


@dataclass(frozen=True)
class NewPreprocessor:
    """A way to make a control picture for ControlNet of a picture.

    annotate: takes any of `image` (RGB) and `resolution` (pixels of the shorter side); gives a picture.   types: control types it is for.
    """

    name: str
    annotate: Callable[..., Any]
    types: tuple[str, ...] = ()


@dataclass(frozen=True)
class NewPostprocessor:
    """A step of the Extras tab.

    process: takes any of `image` (RGB), `name` (of its file, or ""), `tell` (a function that takes a sentence for the user) and the values
    of its controls by name; gives a picture, or None for the same. One with transparency of its own keeps that; another one gets the
    transparency that the original had.
    controls: by name, each declared with `webui.core.parameters.parameter`.
    order: small ones first. A1111's numbers: enlarging is 1000, GFPGAN 2000, CodeFormer 3000.
    """

    name: str
    process: Callable[..., Any]
    controls: Mapping[str, Any] = field(default_factory=dict)
    order: int = 4000


@dataclass(frozen=True)
class NewFamily:
    """A kind of checkpoint that the program does not draw by itself.

    recognises: of the shapes of a file's tensors by name, whether it is of this family. Only asked for files that are of none
    of the program's own.
    build: called when such a file is loaded; gives a webui.engine.families.base.Family.
    """

    name: str
    recognises: Callable[[Mapping[str, tuple[int, ...]]], bool]
    build: Callable[[], Any]


@dataclass(frozen=True)
class NewTab:
    """A tab of the page.  title: on it.   build: called once inside the tab; lays gradio components out and connects them."""

    title: str
    build: Callable[[], object]


@dataclass(frozen=True)
class AddedPicture:
    """A picture that an extension adds to a job.  infotext: what stands beside it.   request: GenerationRequest, of what it was made of."""

    image: Any
    infotext: str
    request: Any


@dataclass(frozen=True)
class Assets:
    """Files of one extension that the page loads.

    folder: where the extension lies.   scripts, modules, localizations: below it, with slashes.   style: whether it has a style.css.
    """

    extension: str
    folder: Path
    scripts: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    localizations: tuple[str, ...] = ()
    style: bool = False


@dataclass(frozen=True)
class Addition:
    """Everything that one extension adds.

    settings: parameters of the settings, by name.   syntax: by the kind of a tag <kind:...>, what makes text of it.
    network_kinds: by the kind of a tag, what makes a Patch of it.   routes: adds routes to a router.
    postprocessors: steps of the Extras tab.   families: kinds of checkpoints.
    """

    extension: str
    scripts: tuple[Any, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    samplers: tuple[NewSampler, ...] = ()
    schedules: tuple[NewSchedule, ...] = ()
    upscalers: tuple[NewUpscaler, ...] = ()
    preprocessors: tuple[NewPreprocessor, ...] = ()
    tabs: tuple[NewTab, ...] = ()
    syntax: Mapping[str, Callable[..., str]] = field(default_factory=dict)
    network_kinds: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    routes: Callable[[Any], object] | None = None
    postprocessors: tuple[NewPostprocessor, ...] = ()
    families: tuple[NewFamily, ...] = ()


@dataclass(frozen=True)
class Moment:
    """Where a job's sampling is, for on_step.  step: made so far, from 1.   steps: in all.   sigma: the noise level of `x`."""

    step: int
    steps: int
    sigma: float

"""What changes a model's modules while they draw one job: networks with their strengths, and tiling."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path

from webui.core.extra_networks import Curve, NetworkTag, read_hypernet_tag, read_lora_tag
from webui.core.ports import NetworkFile
from webui.engine.loading import file_version


@dataclass(frozen=True)
class NetworkUse:
    """A LoRA or hypernetwork and how strongly it acts now.

    kind: "lora" or "hypernet".   te, unet: strength on text encoder and UNet.   dyn: rank to cut a LoRA to, None for all of it.
    version: tells a file that was replaced under its name from what it was.
    """

    kind: str
    path: Path
    te: float
    unet: float
    dyn: int | None = None
    version: Hashable = None


@dataclass(frozen=True)
class Adaptation:
    """All changes at one moment, in the order of the prompt. Equal ones may share forward passes."""

    networks: tuple[NetworkUse, ...] = ()
    tiling: bool = False


NO_CHANGE = Adaptation()


@dataclass(frozen=True)
class ScheduledNetwork:
    """A network whose strength may change while a picture is drawn."""

    kind: str
    path: Path
    te: Curve
    unet: Curve
    dyn: int | None = None
    version: Hashable = None

    def at(self, fraction: float) -> NetworkUse:
        """As it is when that part of the steps (0..1) is done."""
        return NetworkUse(self.kind, self.path, self.te.at(fraction), self.unet.at(fraction), self.dyn, self.version)


@dataclass(frozen=True)
class AdaptationTimeline:
    """Which changes act at which denoiser call.  segments: (last call, networks), rising; at least one."""

    calls: int
    segments: tuple[tuple[int, tuple[ScheduledNetwork, ...]], ...] = ((0, ()),)
    tiling: bool = False

    def at(self, call: int) -> Adaptation:
        """As it is at this call; like prompts, a segment reaches to the call of its own number."""
        active = next((networks for last, networks in self.segments if call <= last), self.segments[-1][1])
        return Adaptation(tuple(network.at(call / max(1, self.calls)) for network in active), self.tiling)

    def of_segment(self, number: int) -> Adaptation:
        """As it is at the beginning of a segment, which is what its texts are encoded with."""
        begin = self.segments[number - 1][0] if number else 0
        return Adaptation(tuple(network.at(begin / max(1, self.calls)) for network in self.segments[number][1]), self.tiling)


def schedule_network(tag: NetworkTag, file: NetworkFile) -> ScheduledNetwork:
    """A tag and its file as what acts.  Raises InvalidRequest for a strength that is no number, ModelError when the file is gone."""
    version = file_version(file.path)
    if file.kind == "hypernet":
        strength = read_hypernet_tag(tag).strength
        return ScheduledNetwork(file.kind, file.path, strength, strength, None, version)
    wish = read_lora_tag(tag)
    return ScheduledNetwork(file.kind, file.path, wish.te, wish.unet, wish.dyn, version)

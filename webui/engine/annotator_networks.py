"""Preprocessors that are networks: controlnet_aux's detectors, built here around weights that are only read, never unpickled as code.

Nothing is fetched: a detector's constructor gets its weights from the user's files, and its own ways to download are not called.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import pickle
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from webui.core.errors import ModelError

Pixels = NDArray[np.uint8]
PACKAGE = "controlnet_aux"


@dataclass(frozen=True)
class Network:
    """A preprocessor with its weights.

    module: what is brought to a device.   detect: of a picture whose sides are multiples of 64, and two numbers, a picture of that size.
    """

    module: nn.Module
    detect: Callable[[Pixels, float, float], Pixels]


@dataclass(frozen=True)
class Builder:
    """Builds a preprocessor from its files.  switches: the options of `build` that are on."""

    build: Callable[..., Network]
    switches: tuple[str, ...] = ()

    def __call__(self, files: Sequence[Path]) -> Network:
        """The network with the files' weights in it."""
        return self.build(files, **dict.fromkeys(self.switches, True))


def aux(module: str) -> Any:
    """A module of controlnet_aux. The package itself is left out: it imports every detector, and with them what is not installed."""
    if PACKAGE not in sys.modules:
        spec = importlib.util.find_spec(PACKAGE)
        if spec is None or spec.submodule_search_locations is None:
            raise ModelError(
                f"This preprocessor needs the package {PACKAGE}, which is not installed. Start the program with launch.py again."
            )
        package = ModuleType(PACKAGE)
        package.__path__ = list(spec.submodule_search_locations)
        sys.modules[PACKAGE] = package
    return importlib.import_module(f"{PACKAGE}.{module}")


def read_weights(path: Path) -> Any:
    """What torch.save wrote, on the CPU: tensors, numbers and texts alone.  Raises ModelError, also for a file that asks for more."""
    try:
        with torch.inference_mode(False):
            return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, OSError, RuntimeError, EOFError, LookupError, ValueError, TypeError, AttributeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ModelError(f"{path.parent.name}/{path.name} cannot be read as plain weights ({reason}). Download it again.") from None


def _sound_copy(path: Path) -> io.BytesIO:
    """The weights as a file for constructors that read one themselves."""
    copy = io.BytesIO()
    torch.save(read_weights(path), copy)
    copy.seek(0)
    return copy


def _filled(network: nn.Module, weights: Mapping[str, Any], path: Path) -> nn.Module:
    try:
        network.load_state_dict({name.removeprefix("module."): tensor for name, tensor in weights.items()})
    except (RuntimeError, AttributeError, TypeError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise ModelError(f"{path.parent.name}/{path.name} does not hold the weights of its preprocessor ({reason}).") from None
    return network.eval().requires_grad_(False)


def _part(weights: Any, key: str, path: Path) -> Mapping[str, Any]:
    """One of the dictionaries in a file of several."""
    found = weights.get(key) if isinstance(weights, dict) else None
    if not isinstance(found, dict):
        raise ModelError(f"{path.parent.name}/{path.name} does not hold the weights of its preprocessor: it has no {key!r}.")
    return found


def _whole(pixels: Pixels) -> dict[str, Any]:
    """The options that make a detector keep the picture's size, and answer with pixels."""
    side = min(pixels.shape[:2])
    return {"detect_resolution": side, "image_resolution": side, "output_type": "np"}


def _hed(files: Sequence[Path], *, safe: bool = False, scribble: bool = False) -> Network:
    module = aux("hed")
    detector = module.HEDdetector(_filled(module.ControlNetHED_Apache2(), read_weights(files[0]), files[0]).float())
    return Network(detector.netNetwork, lambda pixels, a, b: detector(pixels, safe=safe, scribble=scribble, **_whole(pixels)))


def _pidi(files: Sequence[Path], *, safe: bool = False, scribble: bool = False) -> Network:
    module = aux("pidi")
    network = _filled(module.pidinet(), _part(read_weights(files[0]), "state_dict", files[0]), files[0])
    detector = module.PidiNetDetector(network)
    return Network(network, lambda pixels, a, b: detector(pixels, safe=safe, scribble=scribble, **_whole(pixels)))


def _teed(files: Sequence[Path]) -> Network:
    module = aux("teed")
    network = _filled(module.TED(), read_weights(files[0]), files[0])
    detector = module.TEEDdetector(network)

    def detect(pixels: Pixels, steps: float, b: float) -> Pixels:
        return detector(pixels, detect_resolution=min(pixels.shape[:2]), safe_steps=int(steps), output_type="np")

    return Network(network, detect)


def _lineart(files: Sequence[Path]) -> Network:
    module = aux("lineart")
    network = _filled(module.Generator(3, 1, 3), read_weights(files[0]), files[0])
    detector = module.LineartDetector(network, network)
    return Network(network, lambda pixels, a, b: detector(pixels, **_whole(pixels)))


def _lineart_anime(files: Sequence[Path]) -> Network:
    module = aux("lineart_anime")
    norm = partial(nn.InstanceNorm2d, affine=False, track_running_stats=False)
    network = _filled(module.UnetGenerator(3, 1, 8, 64, norm_layer=norm, use_dropout=False), read_weights(files[0]), files[0])
    detector = module.LineartAnimeDetector(network)
    return Network(network, lambda pixels, a, b: detector(pixels, **_whole(pixels)))


def _midas(files: Sequence[Path], *, normal: bool = False) -> Network:
    network = aux("midas.midas.dpt_depth").DPTDepthModel(path=None, backbone="vitb_rn50_384", non_negative=True)
    weights = read_weights(files[0])
    weights = weights["model"] if isinstance(weights, dict) and "optimizer" in weights else weights
    detector = aux("midas").MidasDetector(_filled(network, weights, files[0]))

    def detect(pixels: Pixels, background: float, b: float) -> Pixels:
        options = {**_whole(pixels), "bg_th": background if normal else 0.1, "depth_and_normal": normal}
        found = detector(pixels, **options)
        return found[1] if normal else found

    return Network(network, detect)


def _zoe(files: Sequence[Path]) -> Network:
    module = aux("zoe")
    settings = module.get_config("zoedepth", "infer")
    network = module.ZoeDepth.build_from_config(settings)
    network = _filled(network, _part(read_weights(files[0]), "model", files[0]), files[0])
    detector = module.ZoeDetector(network)
    return Network(network, lambda pixels, a, b: detector(pixels, **_whole(pixels)))


def _leres(files: Sequence[Path]) -> Network:
    module = aux("leres")
    network = module.RelDepthModel(backbone="resnext101")
    network = _filled(network, _part(read_weights(files[0]), "depth_model", files[0]), files[0])
    detector = module.LeresDetector(network, None)
    return Network(network, lambda pixels, near, far: detector(pixels, thr_a=near, thr_b=far, **_whole(pixels)))


def _normal_bae(files: Sequence[Path]) -> Network:
    module = aux("normalbae")
    settings = module.types.SimpleNamespace(
        mode="client", architecture="BN", pretrained="scannet", sampling_ratio=0.4, importance_ratio=0.7
    )
    network = _filled(module.NNET(settings), _part(read_weights(files[0]), "model", files[0]), files[0])
    detector = module.NormalBaeDetector(network)
    return Network(network, lambda pixels, a, b: detector(pixels, **_whole(pixels)))


def _mlsd(files: Sequence[Path]) -> Network:
    module = aux("mlsd")
    network = _filled(module.MobileV2_MLSD_Large(), read_weights(files[0]), files[0])
    detector = module.MLSDdetector(network)
    return Network(network, lambda pixels, value, distance: detector(pixels, thr_v=value, thr_d=distance, **_whole(pixels)))


def _openpose(files: Sequence[Path], *, hand: bool = False, face: bool = False, without_body: bool = False) -> Network:
    """files: of the body, then of the hands and the face as far as these are wanted."""
    module = aux("open_pose")
    rest = iter(files[1:])
    try:
        parts = [
            module.Body(_sound_copy(files[0])),
            module.Hand(_sound_copy(next(rest))) if hand else None,
            module.Face(_sound_copy(next(rest))) if face else None,
        ]
    except (RuntimeError, LookupError, AttributeError, TypeError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise ModelError(f"{files[0].parent.name} does not hold the weights of its preprocessor ({reason}).") from None
    detector = module.OpenposeDetector(*parts)

    def detect(pixels: Pixels, a: float, b: float) -> Pixels:
        return detector(pixels, include_body=not without_body, include_hand=hand, include_face=face, **_whole(pixels))

    networks = nn.ModuleList(part.model for part in parts if part is not None)
    return Network(networks, detect)


# By preprocessor: what builds it from the files that core/preprocessors.py names.
NETWORKS: Mapping[str, Builder] = MappingProxyType({
    "hed": Builder(_hed),
    "hed_safe": Builder(_hed, ("safe",)),
    "scribble_hed": Builder(_hed, ("scribble",)),
    "pidinet": Builder(_pidi),
    "pidinet_safe": Builder(_pidi, ("safe",)),
    "pidinet_scribble": Builder(_pidi, ("scribble",)),
    "te_hed": Builder(_teed),
    "lineart": Builder(_lineart),
    "lineart_coarse": Builder(_lineart),
    "lineart_anime": Builder(_lineart_anime),
    "depth": Builder(_midas),
    "normal_map": Builder(_midas, ("normal",)),
    "depth_zoe": Builder(_zoe),
    "depth_leres": Builder(_leres),
    "normal_bae": Builder(_normal_bae),
    "mlsd": Builder(_mlsd),
    "openpose": Builder(_openpose),
    "openpose_hand": Builder(_openpose, ("hand",)),
    "openpose_face": Builder(_openpose, ("face",)),
    "openpose_faceonly": Builder(_openpose, ("face", "without_body")),
    "openpose_full": Builder(_openpose, ("hand", "face",)),
})  # fmt: skip

"""Models from picture to picture (upscalers, face restorers): read through spandrel, kept in memory, the longest unused let go first."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from webui.core.errors import ModelError
from webui.core.hook_ports import NO_ENGINE_HOOKS, EngineHooks
from webui.engine.convert_weights import converted
from webui.engine.device import Device, release_memory
from webui.engine.loading import file_version

log = logging.getLogger(__name__)

KEPT = 3
FACE_PURPOSE = "FaceSR"
EXTRA_ARCHITECTURES = "spandrel_extra_arches"
WHOLE_ONLY = "INTERNAL"


@dataclass(eq=False)
class ImageModel:
    """A model ready to run.

    net: spandrel's descriptor: (1, C, H, W) in [0, 1] to (1, C', H * scale, W * scale).   largest_tile: what has been found to fit the
    device, 0 while nothing failed.
    """

    name: str
    net: Any
    device: torch.device
    dtype: torch.dtype
    largest_tile: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def scale(self) -> int:
        """How much larger the result is."""
        return int(self.net.scale)

    @property
    def mends_faces(self) -> bool:
        """Whether it takes a face alone, 512 pixels wide, and not any picture."""
        return bool(self.net.purpose == FACE_PURPOSE)

    @property
    def takes_tiles(self) -> bool:
        """Whether a picture may be given in pieces."""
        return bool(self.net.tiling.name != WHOLE_ONLY)

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """pixels: (1, 3, H, W) in [0, 1], anywhere; the result in float32 on the CPU.

        A model for grey pictures sees each colour as one. One that overflows in 16 bits goes on in 32.
        """
        with self._lock:
            result = self._run(pixels)
            if self.dtype != torch.float32 and not result.isfinite().all():
                log.warning("%s overflows in %s; going on in float32.", self.name, self.dtype)
                self.dtype = torch.float32
                with torch.inference_mode(False):
                    self.net.to(self.dtype)
                result = self._run(pixels)
        return result

    def _run(self, pixels: torch.Tensor) -> torch.Tensor:
        given = pixels.to(device=self.device, dtype=self.dtype)
        if self.net.input_channels == 1:
            return torch.cat([self.net(channel[None, None]).float().cpu()[:, :1] for channel in given[0]], dim=1)
        result: torch.Tensor = self.net(given).float().cpu()
        return result if result.shape[1] == 3 else result[:, :1].expand(-1, 3, -1, -1)


class ImageModels:
    """Owner of the loaded ones. Safe to call from any thread.

    cache: where converted files are kept.   hooks: those who may have added upscalers of their own, which are no files.
    """

    def __init__(self, device: Device, cache: Path, hooks: EngineHooks = NO_ENGINE_HOOKS) -> None:
        self.hooks = hooks
        self._device = device
        self._cache = cache
        self._lock = threading.Lock()
        self._models: OrderedDict[Hashable, ImageModel] = OrderedDict()

    def get(self, path: Path) -> ImageModel:
        """The model in a file.  Raises ModelError when it is none that is known here."""
        version = file_version(path)
        with self._lock:
            model = self._models.get(version)
            if model is None:
                while len(self._models) >= KEPT:
                    self._models.popitem(last=False)
                with torch.inference_mode(False):  # weights made inside it could not be changed from outside
                    model = self._load(path)
                self._models[version] = model
            self._models.move_to_end(version)
            return model

    def clear(self) -> None:
        """Let all models go."""
        with self._lock:
            self._models.clear()
        release_memory(self._device.torch)

    def _load(self, path: Path) -> ImageModel:
        started = time.perf_counter()
        spandrel = _spandrel()
        try:
            state = spandrel.canonicalize_state_dict(load_file(converted(path, self._cache)))
            net = spandrel.ModelLoader().load_from_state_dict(state)
        except spandrel.UnsupportedModelError:
            raise ModelError(f"{path.name} is of no architecture that is known here. Choose another upscaler.") from None
        except (SafetensorError, RuntimeError, ValueError, KeyError, IndexError, AssertionError, OSError) as error:
            raise ModelError(f"{path.name} cannot be loaded: {str(error).splitlines()[0][:200] if str(error) else error!r}.") from None
        if not isinstance(net, spandrel.ImageModelDescriptor) or net.input_channels not in (1, 3):
            raise ModelError(f"{path.name} does not make a picture of a colour picture alone. Choose another upscaler.")
        dtype = self._dtype_for(net)
        net.eval().to(self._device.torch, dtype)
        for weight in net.model.parameters():
            weight.requires_grad_(False)
        log.info("%s (%s) loaded in %.2f s", path.name, net.architecture.name, time.perf_counter() - started)
        return ImageModel(path.name, net, self._device.torch, dtype)

    def _dtype_for(self, net: Any) -> torch.dtype:
        """16 bits where the device draws in them and the architecture stands it."""
        if self._device.torch.type != "cuda" or self._device.dtype == torch.float32:
            return torch.float32
        if net.supports_half:
            return torch.float16
        return torch.bfloat16 if net.supports_bfloat16 and torch.cuda.is_bf16_supported() else torch.float32


def _spandrel() -> Any:
    """spandrel, which takes more than a second to import and which few jobs need; with further architectures where they are installed."""
    spandrel = importlib.import_module("spandrel")
    if importlib.util.find_spec(EXTRA_ARCHITECTURES):
        importlib.import_module(EXTRA_ARCHITECTURES).install(ignore_duplicates=True)
    return spandrel

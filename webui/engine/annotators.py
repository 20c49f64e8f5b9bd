"""Runs ControlNet's preprocessors, and keeps the networks that were used last."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from webui.core.errors import InvalidRequest, ModelError, NotFound
from webui.core.extension_points import is_added
from webui.core.hook_ports import NO_ENGINE_HOOKS, EngineHooks
from webui.core.ports import AnnotationOptions
from webui.core.preprocessors import FOLDER, Preprocessor, find_preprocessor
from webui.engine.annotator_filters import FILTERS, Pixels, resized
from webui.engine.annotator_networks import NETWORKS, Network
from webui.engine.device import is_out_of_memory, release_memory
from webui.engine.loading import file_version

KEPT = 2
STEP = 64
MAX_PIXELS = 4096 * 4096


class Annotators:
    """The preprocessors. Every method may be called from any thread.

    folder: where their weights lie, a folder each.   hooks: extensions, which may have added others.
    """

    def __init__(self, folder: Path, device: torch.device, hooks: EngineHooks = NO_ENGINE_HOOKS) -> None:
        self._hooks = hooks
        self._folder = folder
        self._device = device
        self._lock = threading.Lock()
        self._networks: OrderedDict[object, Network] = OrderedDict()

    def annotate(self, module: str, picture: Image.Image, options: AnnotationOptions) -> Image.Image:
        """What a preprocessor makes of a picture.  Raises UnknownName; NotFound for a missing file, naming it; ModelError for a bad one."""
        preprocessor = find_preprocessor(module)
        defaults = [slider.value if slider else -1 for slider in preprocessor.sliders]
        given = options.resolution, options.a, options.b
        resolution, a, b = (default if value == -1 else value for value, default in zip(given, defaults, strict=True))
        pixels = np.asarray(picture.convert("RGB"))
        if preprocessor.resolution:
            _check_size(pixels, int(resolution))
        if is_added(preprocessor.name):
            return self._hooks.annotate(preprocessor.name, picture, int(resolution))
        if preprocessor.name in FILTERS:
            return Image.fromarray(np.ascontiguousarray(FILTERS[preprocessor.name](pixels, int(resolution), a, b)))
        with self._lock, torch.inference_mode():
            return Image.fromarray(self._detected(self._network(preprocessor), resized(pixels, int(resolution)), a, b))

    def clear(self) -> None:
        """Let all networks go."""
        with self._lock:
            self._networks.clear()

    def _detected(self, network: Network, pixels: Pixels, a: float, b: float) -> Pixels:
        height, width = pixels.shape[:2]
        padded = np.pad(pixels, ((0, -height % STEP), (0, -width % STEP), (0, 0)), mode="edge")
        try:
            network.module.to(self._device)
            found = network.detect(padded, a, b)
        except Exception as error:
            if not is_out_of_memory(error) or self._device.type == "cpu":
                raise
            # Beside the models that draw there is no room for it: slower then, on the processor.
            release_memory(self._device)
            network.module.to("cpu")
            found = network.detect(padded, a, b)
        return np.ascontiguousarray(found[:height, :width])

    def _network(self, preprocessor: Preprocessor) -> Network:
        files = [self._folder / preprocessor.folder / name for name in preprocessor.files]
        for file in files:
            if not file.is_file():
                raise NotFound(
                    f"The preprocessor {preprocessor.label!r} needs the file {file.name}, which is not there. "
                    f"Put it into {FOLDER}/{preprocessor.folder}, or choose a preprocessor that needs none, such as canny."
                )
        build = NETWORKS.get(preprocessor.name)
        if build is None:
            raise ModelError(f"The preprocessor {preprocessor.label!r} is not built into this version.")
        key = preprocessor.name, tuple(file_version(file) for file in files)
        if key not in self._networks:
            while len(self._networks) >= KEPT:
                self._networks.popitem(last=False)
            self._networks[key] = build(files)
        self._networks.move_to_end(key)
        return self._networks[key]


def _check_size(pixels: Pixels, resolution: int) -> None:
    factor = resolution / min(pixels.shape[:2])
    if factor > 1 and pixels.shape[0] * pixels.shape[1] * factor * factor > MAX_PIXELS:
        raise InvalidRequest(
            f"The picture is {pixels.shape[1]}x{pixels.shape[0]}; with a shorter side of {resolution} it would have more than "
            f"{MAX_PIXELS} pixels. Lower the resolution, or cut the picture."
        )

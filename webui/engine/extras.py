"""A job of the Extras tab, read top to bottom: each picture is enlarged, then its faces are mended. It needs no checkpoint.

Before, between and after these work the steps that extensions add, by their order.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field

from PIL import Image

from webui.core.events import Cancelled, Drawn, EngineEvent, Finished, ModelLoading, Progress, Remark
from webui.core.extras import ENLARGING, RESTORERS, ExtrasRequest, SourcePicture, TargetSize
from webui.core.images import decode_image
from webui.core.ports import ExtrasWork
from webui.core.upscalers import Upscaler
from webui.engine.faces import mending_faces
from webui.engine.image_models import ImageModels
from webui.engine.upscale import Enlarging, tiling_of, upscaling

LANCZOS = Upscaler("Lanczos")


@dataclass(frozen=True)
class Orders:
    """What somebody wants of a running job; looked at between tiles.  skipped: the picture at work is left out."""

    cancelled: threading.Event = field(default_factory=threading.Event)
    skipped: threading.Event = field(default_factory=threading.Event)


def postprocess(work: ExtrasWork, models: ImageModels, orders: Orders) -> Iterator[EngineEvent]:
    """Do a job's pictures, leaving out those already done; ends with Finished or Cancelled."""
    request = work.request
    if first := next(iter((*request.upscalers, *request.face_restorers)), None):
        yield ModelLoading(first)
    clock = _Clock(request.images)
    for index in range(request.images):
        if index in work.done:
            continue
        picture = _Picture(work, models, index)
        steps = picture.make()
        result: Image.Image | None = None
        orders.skipped.clear()
        while not orders.skipped.is_set():
            if orders.cancelled.is_set():
                yield Cancelled()
                return
            try:
                yield clock.progress(index, next(steps))
            except StopIteration as end:
                result = end.value
                break
        yield from map(Remark, picture.remarks)
        if result:
            yield Drawn(index, result, request.of_image(index))
        else:
            yield Remark(f"{request.pictures[index].name or f'Picture {index + 1}'} was skipped.")
    yield Finished()


class _Picture:
    """One picture of a job."""

    def __init__(self, work: ExtrasWork, models: ImageModels, index: int) -> None:
        self._work = work
        self._models = models
        self._source: SourcePicture = work.request.pictures[index]
        self._request: ExtrasRequest = work.request
        self._parts = len(work.request.upscalers) + len(work.request.face_restorers) + len(work.request.steps)
        self._done = 0
        self._alpha: Image.Image | None = None
        self.remarks: list[str] = []

    def make(self) -> Enlarging:
        """Yields how much is done, 0..1; returns the result, with its transparency."""
        result = self._opaque(decode_image(self._work.pictures[self._source.image].read_bytes()))
        result = yield from self._through_steps(result, -math.inf, ENLARGING)
        source = self._source.model_copy(update={"width": result.width, "height": result.height})
        size = self._request.checked_target(source)
        result = yield from self._enlarged(result, size)
        if self._alpha and self._request.upscalers:
            self._alpha = _cropped(self._alpha.resize((size.width, size.height), Image.Resampling.LANCZOS), size)
        low = ENLARGING
        for name, order in RESTORERS:
            result = yield from self._through_steps(result, low, order)
            if name in self._request.face_restorers:
                result = yield from self._with_faces(result, name)
            low = order
        result = yield from self._through_steps(result, low, math.inf)
        if self._alpha:
            result.putalpha(self._alpha)
        return result

    def _opaque(self, image: Image.Image) -> Image.Image:
        """The picture without its transparency, which is kept."""
        if image.has_transparency_data:
            self._alpha = image.convert("RGBA").getchannel("A")
        return image.convert("RGB")

    def _through_steps(self, image: Image.Image, low: float, high: float) -> Enlarging:
        """What the steps that extensions add make of it, of those whose order is from `low` on and below `high`."""
        for step in self._request.steps_between(low, high):
            yield self._share
            image = self._opaque(self._models.hooks.postprocess(step.name, image, self._source.name, step.values, self.remarks.append))
            if self._alpha and self._alpha.size != image.size:
                self._alpha = self._alpha.resize(image.size, Image.Resampling.LANCZOS)
            self._done += 1
        return image

    @property
    def _share(self) -> float:
        """How much of the work is done, 0..1."""
        return self._done / self._parts

    def _enlarged(self, image: Image.Image, size: TargetSize) -> Enlarging:
        results: list[Image.Image] = []
        for name in self._request.upscalers:
            upscaler = self._work.upscalers[name]
            work = upscaling(image, upscaler, size.width, size.height, models=self._models, tiling=tiling_of(upscaler, self._work.settings))
            results.append((yield from self._shared(work)))
        if not results:
            return image
        if len(results) == 2:
            results[0] = Image.blend(results[0], results[1], self._request.upscaler_2_visibility)
        return _cropped(results[0], size)

    def _shared(self, work: Enlarging) -> Enlarging:
        """A part of the work, told as a part of the whole."""
        while True:
            try:
                yield self._share + next(work) / self._parts
            except StopIteration as end:
                self._done += 1
                result: Image.Image = end.value
                return result

    def _with_faces(self, image: Image.Image, restorer: str) -> Generator[float, None, Image.Image]:
        faces = self._work.faces
        assert faces is not None
        mended, count = image, 0
        weight = self._request.codeformer_weight
        for done in mending_faces(image, faces, restorer, models=self._models, weight=weight):
            mended, count = done.image, done.faces
            yield self._share
        self._done += 1
        if not count:
            self.remarks.append(f"{restorer}: no face was found in {self._source.name or 'the picture'}.")
        visibility = self._request.gfpgan_visibility if restorer == "GFPGAN" else self._request.codeformer_visibility
        return Image.blend(image, mended, visibility) if visibility < 1 else mended


def _cropped(image: Image.Image, size: TargetSize) -> Image.Image:
    """The middle of an enlarged picture, where only that is wanted."""
    if size.crop is None:
        return image
    width, height = size.crop
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


class _Clock:
    """How far the job is, and how long it will still take."""

    def __init__(self, pictures: int) -> None:
        self._pictures = pictures
        self._started = time.monotonic()

    def progress(self, index: int, of_picture: float) -> Progress:
        """of_picture: 0..1."""
        fraction = min(1.0, (index + of_picture) / self._pictures)
        elapsed = time.monotonic() - self._started
        eta = elapsed / fraction * (1 - fraction) if fraction else 0.0
        return Progress(index, self._pictures, round(of_picture * 100), 100, fraction, eta)

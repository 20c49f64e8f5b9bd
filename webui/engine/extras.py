"""A job of the Extras tab, read top to bottom: each picture is enlarged, then its faces are mended. It needs no checkpoint."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field

from PIL import Image

from webui.core.events import Cancelled, Drawn, EngineEvent, Finished, ModelLoading, Progress, Remark
from webui.core.extras import ExtrasRequest, SourcePicture, TargetSize
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
        self._parts = len(work.request.upscalers) + len(work.request.face_restorers)
        self.remarks: list[str] = []

    def make(self) -> Enlarging:
        """Yields how much is done, 0..1; returns the result, with its transparency."""
        image = decode_image(self._work.pictures[self._source.image].read_bytes())
        alpha = image.convert("RGBA").getchannel("A") if image.mode in ("RGBA", "LA", "PA") else None
        size = self._request.target(self._source)
        result = yield from self._enlarged(image.convert("RGB"), size)
        if alpha and self._request.upscalers:
            alpha = _cropped(alpha.resize((size.width, size.height), Image.Resampling.LANCZOS), size)
        for place, name in enumerate(self._request.face_restorers):
            result = yield from self._with_faces(result, name, (len(self._request.upscalers) + place) / self._parts)
        if alpha:
            result.putalpha(alpha)
        return result

    def _enlarged(self, image: Image.Image, size: TargetSize) -> Enlarging:
        results: list[Image.Image] = []
        for place, name in enumerate(self._request.upscalers):
            upscaler = self._work.upscalers[name]
            work = upscaling(image, upscaler, size.width, size.height, models=self._models, tiling=tiling_of(upscaler, self._work.settings))
            results.append((yield from self._shared(work, place / self._parts)))
        if not results:
            return image
        if len(results) == 2:
            results[0] = Image.blend(results[0], results[1], self._request.upscaler_2_visibility)
        return _cropped(results[0], size)

    def _shared(self, work: Enlarging, before: float) -> Enlarging:
        """A part of the work, told as a part of the whole."""
        while True:
            try:
                yield before + next(work) / self._parts
            except StopIteration as end:
                result: Image.Image = end.value
                return result

    def _with_faces(self, image: Image.Image, restorer: str, before: float) -> Generator[float, None, Image.Image]:
        faces = self._work.faces
        assert faces is not None
        mended, count = image, 0
        weight = self._request.codeformer_weight
        for done in mending_faces(image, faces, restorer, models=self._models, weight=weight):
            mended, count = done.image, done.faces
            yield before
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

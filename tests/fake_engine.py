"""An engine without a model: draws flat pictures whose colour follows from the seed. For tests of everything around the engine."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from safetensors.numpy import load_file

from webui.core.events import Annotated, Cancelled, Drawn, EngineEvent, Failed, Finished, ModelLoading, Preview, Progress, Remark
from webui.core.images import decode_image
from webui.core.interrogation import Tag, Tagger
from webui.core.new_hypernetwork import NewHypernetwork
from webui.core.ports import AnnotationOptions, AnyWork, EmbeddingFacts, ExtrasWork, MemoryUse, Work
from webui.core.request import GenerationRequest
from webui.core.setting_parts.interrogation import InterrogationSettings


class FakeEngine:
    """Draws `request.images` pictures in `request.steps` steps of `step_seconds` each. The prompt "fail" fails.

    A step ends at once when its job is cancelled or skipped, and when step_seconds is set to a time that is over: a test may
    slow the engine down to a crawl while it looks, and lose no time by it.
    """

    device = "imagination"

    def __init__(self, step_seconds: float = 0.0) -> None:
        self._changed = threading.Condition()
        self._step_seconds = step_seconds
        self.drawn: list[tuple[str, int]] = []
        self.loaded: Path | None = None
        self.annotated: list[tuple[object, ...]] = []
        self._cancelled: set[str] = set()
        self._skipped: set[str] = set()
        self._previewed: set[str] = set()
        self._closed = threading.Event()

    @property
    def step_seconds(self) -> float:
        """How long a step takes."""
        return self._step_seconds

    @step_seconds.setter
    def step_seconds(self, seconds: float) -> None:
        with self._changed:
            self._step_seconds = seconds
            self._changed.notify_all()

    def _take_a_step(self, job_id: str) -> None:
        began = time.monotonic()
        with self._changed:
            while (left := began + self._step_seconds - time.monotonic()) > 0:
                if self._closed.is_set() or job_id in self._cancelled | self._skipped:
                    return
                self._changed.wait(left)

    def run(self, work: AnyWork) -> Iterator[EngineEvent]:
        if isinstance(work, ExtrasWork):
            yield from self._resize(work)
            return
        assert isinstance(work, Work), "nothing is merged here"
        request = work.request
        yield ModelLoading(request.checkpoint)
        if request.prompt == "fail":
            yield Failed("This prompt always fails.", "InvalidRequest")
            return
        for number, unit in request.active_units:
            picture = Image.open(work.pictures[unit.image or request.init_images[0]])
            options = AnnotationOptions(unit.processor_res, unit.threshold_a, unit.threshold_b)
            yield Annotated(number, self.annotate(unit.module, picture, options))
        for batch in range(request.batch_count):
            indices = [i for i in range(batch * request.batch_size, (batch + 1) * request.batch_size) if i not in work.done]
            for step in range(request.steps if indices else 0):
                if work.job_id in self._cancelled or self._closed.is_set():
                    yield Cancelled()
                    return
                if work.job_id in self._skipped:
                    self._skipped.discard(work.job_id)
                    break
                self._take_a_step(work.job_id)
                fraction = (batch + (step + 1) / request.steps) / request.batch_count
                yield Progress(batch, request.batch_count, step + 1, request.steps, fraction, 0.1)
                if work.job_id in self._previewed:
                    yield Preview(picture_of(request.seed, 16, 16), step + 1)
            for index in indices:
                alone = request.of_image(index)
                self.drawn.append((work.job_id, index))
                yield Drawn(index, picture_of(alone.seed, request.width, request.height), alone)
        yield Finished()

    def _resize(self, work: ExtrasWork) -> Iterator[EngineEvent]:
        """Bring pictures to the size asked for, in ten tiles each."""
        for index, source in enumerate(work.request.pictures):
            if index in work.done:
                continue
            for tile in range(10):
                if work.job_id in self._cancelled or self._closed.is_set():
                    yield Cancelled()
                    return
                self._take_a_step(work.job_id)
                yield Progress(index, work.request.images, tile + 1, 10, (index + (tile + 1) / 10) / work.request.images, 0.1)
            if work.job_id in self._skipped:
                self._skipped.discard(work.job_id)
                yield Remark(f"{source.name} was skipped.")
                continue
            size = work.request.target(source)
            image = decode_image(work.pictures[source.image].read_bytes()).resize((size.width, size.height), Image.Resampling.NEAREST)
            self.drawn.append((work.job_id, index))
            yield Drawn(index, image.crop((0, 0, *size.crop)) if size.crop else image, work.request.of_image(index))
        yield Finished()

    def cancel(self, job_id: str) -> None:
        with self._changed:
            self._cancelled.add(job_id)
            self._changed.notify_all()

    def skip(self, job_id: str) -> None:
        with self._changed:
            self._skipped.add(job_id)
            self._changed.notify_all()

    def want_preview(self, job_id: str) -> None:
        self._previewed.add(job_id)

    def count_tokens(self, text: str) -> tuple[int, int]:
        used = len(text.split())
        return used, max(1, -(-used // 75)) * 75

    def annotate(self, module: str, picture: Image.Image, options: AnnotationOptions) -> Image.Image:
        """The picture's negative; what was asked is noted."""
        self.annotated.append((module, picture.size, options.resolution, options.a, options.b))
        return ImageOps.invert(picture.convert("RGB"))

    def depth_of(self, picture: Image.Image, request: GenerationRequest, checkpoint: Path, model: Path | None) -> Image.Image:
        """What is bright is near, or the other way round."""
        depth = picture.convert("L")
        return ImageOps.invert(depth) if request.depth_invert else depth

    def unload(self) -> None:
        self.loaded = None

    def preload(self, checkpoint: Path, vae: Path | None) -> None:
        self.loaded = checkpoint

    def token_vectors(self, text: str, checkpoint: Path) -> dict[str, np.ndarray]:
        """A row of the word's length for each word, 768 wide."""
        return {"emb_params": np.array([[len(word)] * 768 for word in text.split()], np.float32).reshape(-1, 768)}

    def embedding_facts(self, path: Path) -> EmbeddingFacts:
        vectors = next(iter(load_file(path).values()))
        return EmbeddingFacts(len(vectors), vectors.shape[1])

    def write_hypernetwork(self, wish: NewHypernetwork, name: str, file: Path) -> None:
        """The wish in words."""
        file.write_text(f"{name}: {wish!r}")

    def caption(self, picture: Image.Image, folder: Path, settings: InterrogationSettings) -> str:
        return f"a picture of {picture.width}x{picture.height}"

    def tags(self, picture: Image.Image, tagger: Tagger) -> tuple[Tag, ...]:
        """Tags of the picture's size and the tagger's name."""
        return Tag(f"{picture.width}_wide", 0.9), Tag(f"by_{tagger.name}", 0.6), Tag("unlikely", 0.1), Tag("safe", 1.0, "rating")

    def memory(self) -> MemoryUse:
        return MemoryUse(ram_free=1, ram_used=1, ram_total=2)

    def close(self) -> None:
        with self._changed:
            self._closed.set()
            self._changed.notify_all()


def picture_of(seed: int, width: int, height: int) -> Image.Image:
    """A flat picture in the seed's own colour."""
    return Image.new("RGB", (width, height), ((seed * 37) % 256, (seed * 91) % 256, (seed * 151) % 256))

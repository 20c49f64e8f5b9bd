"""What a queue needs around it, small: a catalog of one checkpoint, hooks that note what they hear, and a data folder."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL.Image import Image

from tests.fake_engine import FakeEngine
from webui.catalog.catalog import Checkpoint, ModelFile
from webui.catalog.identify import Identity
from webui.catalog.upscalers import Upscalers
from webui.core.errors import UnknownName
from webui.core.events import EngineEvent, Progress
from webui.core.extension_points import AddedPicture
from webui.core.paths import Paths, standard_paths
from webui.core.ports import Work
from webui.core.request import GenerationRequest
from webui.core.result import GenerationResult, Picture
from webui.core.scripts import Script
from webui.core.settings import Settings
from webui.core.styles import StyleStore
from webui.core.upscalers import FaceFiles
from webui.jobs.job import Job
from webui.jobs.outputs import Outputs
from webui.jobs.queue import JobQueue

HASH = "0123456789abcdef" * 4


class OneModelCatalog:
    """Knows tiny.safetensors, and no VAE but its own."""

    def depth_model(self) -> Path | None:
        """None."""
        return None

    def find_checkpoint(self, name: str, *, closest: bool = True) -> Checkpoint:
        if name not in ("", "tiny.safetensors"):
            raise UnknownName("checkpoint", name, ["tiny.safetensors"])
        return Checkpoint("tiny.safetensors", Path("/models/tiny.safetensors"), 1, 1, Identity(family="sd1", metadata={}, tensors=1))

    def find_vae(self, setting: str, checkpoint: Checkpoint) -> ModelFile | None:
        return None

    upscalers = Upscalers()

    def face_files(self, names: Sequence[str]) -> FaceFiles | None:
        return self.upscalers.face_files(names, Path("/models"))

    def embeddings(self) -> tuple[ModelFile, ...]:
        return ()

    def sha256(self, file: ModelFile) -> str:
        return HASH


class NotingHooks:
    """Notes what it is told, in order."""

    def __init__(self) -> None:
        self.saved: list[Picture] = []
        self.finished: list[tuple[str, GenerationResult]] = []
        self.known_scripts: tuple[Script, ...] = ()
        self.added: tuple[AddedPicture, ...] = ()

    def scripts(self) -> tuple[Script, ...]:
        return self.known_scripts

    def find_script(self, title: str) -> Script:
        return next(script for script in self.known_scripts if script.title == title)

    def change_request(self, request: GenerationRequest) -> GenerationRequest:
        return request

    def begin(self, request: GenerationRequest, settings: Settings) -> GenerationRequest:
        return request

    def prepare(self, request: GenerationRequest, settings: Settings, styles: Sequence[str]) -> tuple[GenerationRequest, tuple[str, ...]]:
        return request, ()

    def settle(self, request: GenerationRequest, settings: Settings) -> GenerationRequest:
        return request

    def knows_network(self, kind: str) -> bool:
        return False

    def before_job(self, job_id: str, request: GenerationRequest) -> None:
        pass

    def wants_batches(self, request: GenerationRequest) -> bool:
        return False

    def after_batch(self, images: list[Image], request: GenerationRequest, batch: int, settings: Settings) -> list[Image]:
        return images

    def after_image(self, image: Image, request: GenerationRequest, index: int, settings: Settings) -> tuple[Image, Mapping[str, str]]:
        return image, {}

    def infotext_written(self, pairs: Mapping[str, str], request: GenerationRequest, index: int, settings: Settings) -> Mapping[str, str]:
        return pairs

    def recorded_settings(self, settings: Settings) -> Mapping[str, Any]:
        return {}

    def picture_saved(self, picture: Picture) -> None:
        self.saved.append(picture)

    def postprocess(self, result: GenerationResult, settings: Settings) -> tuple[AddedPicture, ...]:
        return self.added

    def job_finished(self, job_id: str, result: GenerationResult) -> None:
        self.finished.append((job_id, result))


class House:
    """One program's jobs room on a data folder, as `App` would build it."""

    def __init__(self, data: Path, *, engine: FakeEngine | None = None, workers: int = 1, limit: int = 1000, start: bool = True) -> None:
        self.paths: Paths = standard_paths(data)
        self.database = self.paths.state / "queue.sqlite"
        self.engine = engine or FakeEngine()
        self.hooks = NotingHooks()
        self.outputs = Outputs(self.paths, self.database)
        styles = StyleStore((self.paths.styles,))
        self.queue = JobQueue(self.database, self.engine, self.outputs, OneModelCatalog(), self.hooks, styles, workers=workers, limit=limit)
        if start:
            self.queue.start()

    def files(self) -> list[Path]:
        """All files below outputs/, hidden ones too."""
        return sorted(path for path in self.paths.outputs.rglob("*") if path.is_file())

    def close(self) -> None:
        self.queue.close()
        self.engine.close()
        self.outputs.close()


def request(prompt: str = "a cat", **values: object) -> GenerationRequest:
    """A request for small pictures."""
    return GenerationRequest(prompt=prompt, **{"seed": 1, "width": 64, "height": 64, "steps": 2, **values})


def settings(**values: object) -> Settings:
    """Settings that differ from the defaults in these, unchecked: what the check refuses must do no harm either."""
    return Settings().model_copy(update=values)


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for something that another thread or process does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        threading.Event().wait(0.005)


class HeldEngine(FakeEngine):
    """Lets no job begin before it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.may_run = threading.Event()
        self.order: list[str] = []

    def run(self, work: Work) -> Iterator[EngineEvent]:
        self.order.append(work.job_id)
        assert self.may_run.wait(20)
        yield from super().run(work)


class SlowEngine(FakeEngine):
    """Takes long over each job, but can be cancelled at each step."""

    def __init__(self) -> None:
        super().__init__(step_seconds=0.01)


def long_request(**values: object) -> GenerationRequest:
    return request(steps=1000, **values)


def submit(house: House, *job_ids: str, **values: object) -> list[Job]:
    return [house.queue.submit(request(**values), Settings(), job_id=job_id) for job_id in job_ids]


def is_running(job: Job) -> Callable[[], bool]:
    return lambda: job.log.latest(Progress) is not None


def ids(house: House) -> list[str]:
    return [job.id for job in house.queue.jobs()]

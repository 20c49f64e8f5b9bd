"""The fake engine, which really merges: for tests of jobs that write checkpoints."""

from __future__ import annotations

from collections.abc import Iterator

from tests.fake_engine import FakeEngine
from webui.core.events import EngineEvent
from webui.core.ports import AnyWork, MergeWork
from webui.engine.extras_runner import SideRunner
from webui.engine.merging import merge


class MergingEngine(FakeEngine):
    """Draws flat pictures, and merges as the real one."""

    def __init__(self, step_seconds: float = 0.0) -> None:
        super().__init__(step_seconds)
        self._merges = SideRunner(merge)

    def run(self, work: AnyWork) -> Iterator[EngineEvent]:
        return self._merges.run(work) if isinstance(work, MergeWork) else super().run(work)

    def cancel(self, job_id: str) -> None:
        super().cancel(job_id)
        self._merges.cancel(job_id)

    def close(self) -> None:
        self._merges.close()
        super().close()

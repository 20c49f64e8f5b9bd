"""The local engine: one device, its loop, its models."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from functools import partial

import diffusers
import psutil
import torch
import transformers

from webui.core.events import TERMINAL, EngineEvent
from webui.core.paths import Paths
from webui.core.ports import MemoryUse, Work
from webui.engine.conditioning import Coding
from webui.engine.device import choose_device, device_name, memory_use
from webui.engine.device_loop import MAX_ROWS, DeviceLoop, Run
from webui.engine.generate import Story, Tools, generate
from webui.engine.pipeline_manager import Pipeline, PipelineManager
from webui.engine.preview import Previews, load_taesd
from webui.engine.prompt_cache import PromptCache
from webui.engine.prompts import count_prompt_tokens
from webui.engine.tokenizer import build_tokenizer
from webui.engine.warmup import EngineOptions

RAM_SHARE = 0.5
DEVICE_SHARE = 0.85


class LocalEngine:
    """Draws on this machine. Implements webui.core.ports.Engine."""

    def __init__(self, options: EngineOptions, paths: Paths) -> None:
        diffusers.utils.logging.set_verbosity_error()
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        self._device = choose_device(options)
        self._tokenizer = build_tokenizer()
        self.pipelines = PipelineManager(self._device, _weight_budget(self._device.torch, offload=self._device.offload))
        max_rows = 1 if self._device.one_at_a_time else MAX_ROWS
        self.loop = DeviceLoop(self.pipelines, deterministic=options.deterministic, max_rows=max_rows)
        self._previews = Previews(load_taesd(paths.preview_decoders, self._device.torch))
        self._prompts = PromptCache()
        self._runs: dict[str, Run] = {}
        self._lock = threading.Lock()

    @property
    def device(self) -> str:
        """The card's name, or "cpu"; and the numbers it computes with."""
        return f"{device_name(self._device.torch)}, {str(self._device.dtype).removeprefix('torch.')}"

    def run(self, work: Work) -> Iterator[EngineEvent]:
        """Do one job; closing the iterator cancels it."""
        tell: queue.SimpleQueue[EngineEvent] = queue.SimpleQueue()
        run = Run(work, tell, partial(self._begin, work))
        with self._lock:
            self._runs[work.job_id] = run
        self.loop.submit(run)
        try:
            while True:
                event = tell.get()
                yield event
                if isinstance(event, TERMINAL):
                    return
        finally:
            run.cancelled.set()
            with self._lock:
                self._runs.pop(work.job_id, None)
            self._previews.forget(work.job_id)
            self.loop.nudge()

    def cancel(self, job_id: str) -> None:
        """End a job within one step."""
        if run := self._runs.get(job_id):
            run.cancelled.set()
            self.loop.nudge()

    def skip(self, job_id: str) -> None:
        """End the batch a job is drawing."""
        if run := self._runs.get(job_id):
            run.skipped.set()

    def want_preview(self, job_id: str) -> None:
        """Make previews of a job for the next few seconds."""
        if job_id in self._runs:
            self._previews.want(job_id)

    def count_tokens(self, text: str) -> tuple[int, int]:
        """Tokens used and the limit of the last chunk, of the longest text that the prompt becomes."""
        return count_prompt_tokens(self._tokenizer, text, Coding())

    def memory(self) -> MemoryUse:
        """Memory of machine and device."""
        return memory_use(self._device.torch)

    def close(self) -> None:
        """Stop the loop and let all models go."""
        self.loop.close()
        self.pipelines.clear()
        self._prompts.clear()

    def _begin(self, work: Work, pipeline: Pipeline) -> Story:
        return generate(work, Tools(pipeline, self._tokenizer, partial(self._previews.wanted, work, pipeline), self._prompts))


def _weight_budget(device: torch.device, *, offload: bool) -> int:
    """Bytes of model weights to keep: a share of the memory they lie in."""
    if device.type == "cuda" and not offload:
        return int(torch.cuda.mem_get_info(device)[1] * DEVICE_SHARE)
    return int(psutil.virtual_memory().total * RAM_SHARE)

"""The local engine: one device, its loop, its models."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import diffusers
import numpy as np
import psutil
import torch
import transformers
from PIL.Image import Image

from webui.core.errors import WebuiError
from webui.core.events import TERMINAL, Annotated, EngineEvent, Failed
from webui.core.hook_ports import NO_ENGINE_HOOKS, EngineHooks
from webui.core.interrogation import Tag, Tagger
from webui.core.new_hypernetwork import NewHypernetwork
from webui.core.paths import Paths
from webui.core.ports import AnnotationOptions, AnyWork, EmbeddingFacts, ExtrasWork, MemoryUse, MergeWork, Work
from webui.core.request import GenerationRequest
from webui.core.setting_parts.interrogation import InterrogationSettings
from webui.engine.adapters.embeddings import read_embedding
from webui.engine.adapters.new_hypernetwork import write_hypernetwork
from webui.engine.annotators import Annotators
from webui.engine.conditioning import Coding
from webui.engine.control_pictures import ControlPicture, control_pictures
from webui.engine.controls import ControlPictures
from webui.engine.depth import DepthEstimators
from webui.engine.device import choose_device, device_name, memory_use
from webui.engine.device_loop import MAX_ROWS, DeviceLoop, Run
from webui.engine.extra_channels import depth_picture
from webui.engine.extras_runner import ExtrasRunner, SideRunner
from webui.engine.generate import Story, Tools, generate
from webui.engine.image_models import ImageModels
from webui.engine.interrogators import Interrogators
from webui.engine.merging import merge
from webui.engine.pipeline_manager import Pipeline, PipelineManager, PipelineSpec
from webui.engine.preview import TAESD, TAESD_XL, Previews, load_taesd
from webui.engine.prompt_cache import PromptCache
from webui.engine.prompts import count_prompt_tokens
from webui.engine.tokenizer import build_tokenizer, token_ids
from webui.engine.warmup import EngineOptions

RAM_SHARE = 0.5
DEVICE_SHARE = 0.85


class LocalEngine:
    """Draws on this machine. Implements webui.core.ports.Engine."""

    def __init__(self, options: EngineOptions, paths: Paths, hooks: EngineHooks = NO_ENGINE_HOOKS) -> None:
        self._hooks = hooks
        diffusers.utils.logging.set_verbosity_error()
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        self._device = choose_device(options)
        self._tokenizer = build_tokenizer()
        self.pipelines = PipelineManager(self._device, _weight_budget(self._device.torch, offload=self._device.offload), hooks)
        max_rows = 1 if self._device.one_at_a_time else MAX_ROWS
        self.loop = DeviceLoop(self.pipelines, deterministic=options.deterministic, max_rows=max_rows)
        self._previews = Previews(*(load_taesd(paths.preview_decoders, self._device.torch, name) for name in (TAESD, TAESD_XL)))
        self._prompts = PromptCache()
        self._depth = DepthEstimators(self._device.torch)
        self._interrogators = Interrogators(self._device.torch)
        self._annotators = Annotators(paths.preprocessors, self._device.torch, hooks)
        self._images = ImageModels(self._device, paths.converted, hooks)
        self._extras = ExtrasRunner(self._images)
        self._merges = SideRunner(merge)
        self._runs: dict[str, Run] = {}
        self._lock = threading.Lock()

    @property
    def device(self) -> str:
        """The card's name, or "cpu"; and the numbers it computes with."""
        return f"{device_name(self._device.torch)}, {str(self._device.dtype).removeprefix('torch.')}"

    def run(self, work: AnyWork) -> Iterator[EngineEvent]:
        """Do one job; closing the iterator cancels it."""
        if isinstance(work, MergeWork):
            return self._merges.run(work)
        return self._extras.run(work) if isinstance(work, ExtrasWork) else self._draw(work)

    def _draw(self, work: Work) -> Iterator[EngineEvent]:
        tell: queue.SimpleQueue[EngineEvent] = queue.SimpleQueue()
        pictures: dict[tuple[int, str], ControlPicture] = {}
        try:
            patches = self._hooks.patches(work.request, work.settings)
        except WebuiError as error:
            yield Failed(str(error), type(error).__name__)
            return
        run = Run(work, tell, partial(self._begin, work, pictures), patches)
        with self._lock:
            self._runs[work.job_id] = run
        try:
            # Here, in the job's own thread: a preprocessor may take seconds, which the other jobs need not wait.
            for picture in control_pictures(work, self._annotators.annotate):
                if run.cancelled.is_set():
                    break
                pictures[picture.unit, picture.source] = picture
                yield Annotated(picture.unit, picture.image)
            self.loop.submit(run)
            while True:
                event = tell.get()
                yield event
                if isinstance(event, TERMINAL):
                    return
        except WebuiError as error:
            yield Failed(str(error), type(error).__name__)
        finally:
            run.cancelled.set()
            with self._lock:
                self._runs.pop(work.job_id, None)
            self._previews.forget(work.job_id)
            self.loop.nudge()

    def cancel(self, job_id: str) -> None:
        """End a job within one step, or one tile."""
        self._extras.cancel(job_id)
        self._merges.cancel(job_id)
        if run := self._runs.get(job_id):
            run.cancelled.set()
            self.loop.nudge()

    def skip(self, job_id: str) -> None:
        """End the batch a job is drawing, or leave out the picture that an Extras job is at."""
        self._extras.skip(job_id)
        if run := self._runs.get(job_id):
            run.skipped.set()

    def want_preview(self, job_id: str) -> None:
        """Make previews of a job for the next few seconds."""
        if job_id in self._runs:
            self._previews.want(job_id)

    def count_tokens(self, text: str) -> tuple[int, int]:
        """Tokens used and the limit of the last chunk, of the longest text that the prompt becomes."""
        return count_prompt_tokens(self._tokenizer, text, Coding())

    def annotate(self, module: str, picture: Image, options: AnnotationOptions) -> Image:
        """What a preprocessor makes of a picture."""
        return self._annotators.annotate(module, picture, options)

    def depth_of(self, picture: Image, request: GenerationRequest, checkpoint: Path, model: Path | None) -> Image:
        """A picture's depth, as a picture."""
        return depth_picture(request, self._depth.estimate(picture, model, checkpoint)).resize(picture.size)

    def unload(self) -> None:
        """Let go of all models that no job uses just now."""
        self.pipelines.clear()
        self._annotators.clear()
        self._images.clear()
        self._prompts.clear()
        self._depth.clear()

    def preload(self, checkpoint: Path, vae: Path | None) -> None:
        """Bring a checkpoint into memory."""
        with self.pipelines.lease(PipelineSpec(checkpoint, vae)):
            pass

    def token_vectors(self, text: str, checkpoint: Path) -> Mapping[str, np.ndarray]:
        """The rows of the text encoders' tables of tokens for this text."""
        with self.pipelines.lease(PipelineSpec(checkpoint)) as pipeline:
            tables = [encoder.get_input_embeddings().weight for encoder in pipeline.text_encoders]
            tokens = token_ids(self._tokenizer, [text])[0]
            rows = [table.detach()[tokens].float().cpu().numpy() for table in tables]
        return dict(zip(("emb_params",) if len(rows) == 1 else ("clip_l", "clip_g"), rows, strict=True))

    def embedding_facts(self, path: Path) -> EmbeddingFacts:
        """What a textual inversion's file says."""
        read = read_embedding(path)
        return EmbeddingFacts(len(read.vectors), read.width, read.step, read.checkpoint)

    def write_hypernetwork(self, wish: NewHypernetwork, name: str, file: Path) -> None:
        """Write a hypernetwork that nobody has trained yet."""
        write_hypernetwork(wish, name, file)

    def caption(self, picture: Image, folder: Path, settings: InterrogationSettings) -> str:
        """A picture in words."""
        return self._interrogators.caption(picture, folder, settings)

    def tags(self, picture: Image, tagger: Tagger) -> tuple[Tag, ...]:
        """A picture in tags."""
        return self._interrogators.tags(picture, tagger)

    def memory(self) -> MemoryUse:
        """Memory of machine and device."""
        return memory_use(self._device.torch)

    def close(self) -> None:
        """Stop the loop and let all models go."""
        self._extras.close()
        self._merges.close()
        self.loop.close()
        self.pipelines.clear()
        self._annotators.clear()
        self._images.clear()
        self._prompts.clear()
        self._depth.clear()

    def _begin(self, work: Work, pictures: ControlPictures, pipeline: Pipeline) -> Story:
        def estimate_depth(image: Image) -> np.ndarray:
            return self._depth.estimate(image, work.depth_model, work.checkpoint)

        preview = partial(self._previews.wanted, work, pipeline)
        tools = Tools(pipeline, self._tokenizer, preview, self._prompts, estimate_depth, pictures, self._images, self._hooks)
        return generate(work, tools)


def _weight_budget(device: torch.device, *, offload: bool) -> int:
    """Bytes of model weights to keep: a share of the memory they lie in."""
    if device.type == "cuda" and not offload:
        return int(torch.cuda.mem_get_info(device)[1] * DEVICE_SHARE)
    return int(psutil.virtual_memory().total * RAM_SHARE)

"""What reading prompts costs: one that is cached, and a new one beside the text encoder alone.

    venv/bin/python -m benchmarks.prompts [CHECKPOINT]

Targets: at most 1 ms for a cached prompt, at most 1.05x the text encoder alone for a new one of 75 tokens. CHECKPOINT should be
a full-size one, because a tiny encoder is faster than any parser.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from statistics import median

import torch
from transformers import CLIPTokenizer

from benchmarks.paired import time_in_turn
from benchmarks.program import ROOT
from webui.core.ports import Work
from webui.core.request import GenerationRequest
from webui.core.settings import Settings
from webui.engine.conditioning import Coding, chunk_prompt
from webui.engine.device import choose_device
from webui.engine.pipeline_manager import Pipeline, PipelineManager, PipelineSpec
from webui.engine.prompt_cache import PromptCache
from webui.engine.prompts import PromptReader
from webui.engine.tokenizer import build_tokenizer
from webui.engine.warmup import EngineOptions

PAIRS = 15
DEMO = ROOT / "models" / "Stable-diffusion" / "demo.safetensors"
WORDS = [
    "cat",
    "dog",
    "tree",
    "house",
    "river",
    "mountain",
    "car",
    "boat",
    "sky",
    "cloud",
    "lamp",
    "table",
    "chair",
    "book",
    "glass",
    "door",
    "window",
    "road",
]


def new_request(number: int) -> GenerationRequest:
    """A prompt of 75 tokens that no other number has, and a short negative one."""
    words = [WORDS[(number * 7 + place * (1 + number % 5)) % len(WORDS)] for place in range(73)]
    return GenerationRequest(
        prompt=f"({' '.join(words)}:1.1) {WORDS[number % 18]} {WORDS[number // 18 % 18]}", negative_prompt=f"bad {number}"
    )


@torch.inference_mode()
def measure(pipeline: Pipeline, tokenizer: CLIPTokenizer, checkpoint: Path) -> None:
    """Measure and print."""
    cache = PromptCache()
    work = Work("benchmark", GenerationRequest(), Settings(), checkpoint, None)

    def read(request: GenerationRequest) -> None:
        PromptReader(work, pipeline, tokenizer, cache, 20).read(request)

    assert len(chunk_prompt(tokenizer, new_request(1).prompt, Coding())[0].tokens) == 75
    seconds = []
    read(new_request(0))
    for _ in range(200):
        began = time.perf_counter()
        read(new_request(0))
        seconds.append(time.perf_counter() - began)
    print(f"a cached prompt: {1000 * median(seconds):.2f} ms")
    tokens = torch.full((1, 77), 2368)

    def encode(number: int) -> None:
        pipeline.text_encoders[0](tokens)
        pipeline.text_encoders[0](tokens)

    print(f"a new prompt beside the text encoder alone: {time_in_turn(lambda number: read(new_request(number + 1)), encode, PAIRS)}")


def main(checkpoint: Path) -> None:
    """On the processor."""
    manager = PipelineManager(choose_device(EngineOptions(device="cpu")), 8 * 2**30)
    with manager.lease(PipelineSpec(checkpoint)) as pipeline:
        measure(pipeline, build_tokenizer(), checkpoint)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DEMO)

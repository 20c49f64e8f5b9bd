"""A picture's prompts to what it is conditioned on at each step: parts, timelines, networks, encoded and cached."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TypedDict

import torch
from transformers import CLIPTokenizer

from webui.core.errors import InvalidRequest, ModelError
from webui.core.extra_networks import NetworkTag, networks_timeline, take_networks
from webui.core.ports import NetworkFile, Work
from webui.core.prompt_schedule import split_and, timeline
from webui.core.prompt_syntax import without_comments
from webui.core.request import GenerationRequest
from webui.engine.adaptation import Adaptation, AdaptationTimeline, ScheduledNetwork, schedule_network
from webui.engine.adapters.embeddings import Embedding, EmbeddingIndex
from webui.engine.conditioning import Chunk, Coding, EncodedTexts, chunk_prompt, count_tokens, encode_texts, read_coding, uses_emphasis
from webui.engine.loading import file_version
from webui.engine.pipeline_manager import Pipeline
from webui.engine.prompt_cache import PromptCache
from webui.engine.timeline import Timeline


@dataclass(frozen=True)
class Conditioning:
    """All that a picture's prompts ask for.

    positives: of each part that AND joins, all of one T.   weights: theirs.   empty: (77, D), the empty prompt, where prompts are
    padded with it.   used: infotext pairs.
    """

    positives: tuple[Timeline, ...]
    weights: tuple[float, ...]
    negative: Timeline
    adaptations: AdaptationTimeline
    empty: torch.Tensor | None = None
    used: dict[str, str] = field(default_factory=dict)


@dataclass
class _Notes:
    """What is noticed while a picture's prompts are read.  hashes: "name: hash" of embeddings, latest text first, as in A1111.

    size: the picture's, (width, height) in pixels.
    """

    size: tuple[int, int]
    hashes: list[str] = field(default_factory=list)
    has_emphasis: bool = False


class _Timing(TypedDict):
    hires_steps: int | None
    old: bool


class PromptReader:
    """Reads the prompts of one job's pictures with one pipeline.

    calls: denoiser calls of the first pass, which the prompts' timelines span.   hires_calls: of the second pass, when it is that
    pass whose prompts are read.
    """

    def __init__(
        self, work: Work, pipeline: Pipeline, tokenizer: CLIPTokenizer, cache: PromptCache, calls: int, hires_calls: int | None = None
    ) -> None:
        self._settings = work.settings
        self._pipeline = pipeline
        self._tokenizer = tokenizer
        self._cache = cache
        self.calls = hires_calls or calls
        self._timing: _Timing = {"hires_steps": hires_calls, "old": work.settings.use_old_scheduling}
        self._first_calls = calls
        self._coding = read_coding(work.settings)
        self._networks = {(file.kind, file.name): file for file in work.networks}
        self._embeddings = [file for file in work.networks if file.kind == "embedding"]
        self._is_second = hires_calls is not None
        self._read: dict[tuple[str, str, tuple[int, int]], Conditioning] = {}
        self._remarks: dict[str, bool] = {}
        self._index = EmbeddingIndex(self._usable_embeddings(), tokenizer)

    def read(self, request: GenerationRequest) -> Conditioning:
        """What one picture is conditioned on; the same object for the same prompts and size.  request: of this picture alone."""
        larger = request.hires_size
        size = (larger.width, larger.height) if self._is_second else (request.width, request.height)
        key = request.prompt, request.negative_prompt, size
        if key not in self._read:
            self._read[key] = self._conditioning(*key)
        return self._read[key]

    def _usable_embeddings(self) -> list[Embedding]:
        """Those that can be read and were made for this text encoder; the words of others stay text."""
        usable = self._bundled_embeddings()
        for file in self._embeddings:
            try:
                embedding = self._pipeline.embedding(file.name, file.path)
            except ModelError as error:
                self._remarks[f"{error} Drawn without it."] = False
                continue
            if embedding.fits(*self._pipeline.text_encoders):
                usable.append(embedding)
            else:
                self._remarks[f"The embedding {file.name!r} was made for another model family; drawn without it."] = False
        return usable

    def _bundled_embeddings(self) -> list[Embedding]:
        """Those that the prompts' LoRAs bring along. Of one word the user's own file counts, which comes later."""
        bundled: list[Embedding] = []
        for file in self._networks.values():
            if file.kind == "lora":
                with suppress(ModelError):  # said when the LoRA itself is applied
                    bundled += self._pipeline.bundled(file.path)
        return [embedding for embedding in bundled if embedding.fits(*self._pipeline.text_encoders)]

    def new_remarks(self) -> list[str]:
        """What the user should know of the prompts read so far and has not been told."""
        new = [text for text, is_told in self._remarks.items() if not is_told]
        self._remarks.update(dict.fromkeys(new, True))
        return new

    def _conditioning(self, prompt: str, negative_prompt: str, size: tuple[int, int]) -> Conditioning:
        notes = _Notes(size)
        text, segments = networks_timeline(prompt, self._first_calls, **self._timing)
        scheduled = tuple((segment.last_step, self._scheduled(segment.tags)) for segment in segments)
        adaptations = AdaptationTimeline(self.calls, scheduled, self._settings.tiling)
        for number in range(len(scheduled)):
            for remark in filter(None, map(self._pipeline.remark, adaptations.of_segment(number).networks)):
                self._remarks.setdefault(remark, False)
        negative = self._timeline(negative_prompt, adaptations, notes, is_negative=True)
        parts = split_and(text)
        positives = [self._timeline(part.text, adaptations, notes) for part in parts]
        longest = max(positive.length for positive in positives)
        return Conditioning(
            tuple(positive.lengthened(longest) for positive in positives),
            tuple(part.weight for part in parts),
            negative,
            adaptations,
            self._encode([""], adaptations.of_segment(0)).context[0] if self._settings.pad_cond_uncond else None,
            self._used(prompt, notes),
        )

    def _scheduled(self, tags: Sequence[NetworkTag]) -> tuple[ScheduledNetwork, ...]:
        """The networks that tags name; whoever looked for the files has told of those that are not there."""
        found = []
        for tag in tags:
            file = self._networks.get((network_kind(tag), tag.name))
            try:
                if file is not None:
                    found.append(schedule_network(tag, file))
            except (InvalidRequest, ModelError) as error:
                self._remarks.setdefault(str(error), False)
        return tuple(found)

    def _timeline(self, text: str, adaptations: AdaptationTimeline, notes: _Notes, *, is_negative: bool = False) -> Timeline:
        """Encode all that a text is to become, and where networks change on the way, once with each set of them."""
        segments = timeline(text, self._first_calls, **self._timing)
        texts = [segment.text for segment in segments]
        notes.has_emphasis |= any(map(uses_emphasis, texts))
        if self._embeddings:
            notes.hashes[:0] = self._hashes(texts)
        is_nothing = is_negative and self._pipeline.family.zeroes_empty_negative and not any(texts)
        entries: list[tuple[int, torch.Tensor]] = []
        vectors: list[torch.Tensor] = []
        begin, ends = -1, [end for end, _ in adaptations.segments[:-1]] + [segments[-1].last_step]
        for number, end in enumerate(ends):
            encoded = self._encode(texts, adaptations.of_segment(number))
            if is_nothing:
                encoded = encoded.zeroed()
            for place, segment in enumerate(segments):
                if begin < segment.last_step and (not entries or entries[-1][0] < end):
                    entries.append((min(segment.last_step, end), encoded.context[place]))
                    vectors += self._vector(encoded, place, notes.size, is_negative=is_negative)
            begin = end
        return Timeline(tuple(entries), tuple(vectors))

    def _vector(self, encoded: EncodedTexts, place: int, size: tuple[int, int], *, is_negative: bool) -> list[torch.Tensor]:
        """What conditions beside the context of one of the texts: (V,), or nothing where the family takes nothing."""
        numbers = self._pipeline.family.numbers
        if numbers is None or encoded.pooled is None:
            return []
        pooled = encoded.pooled[place]
        return [torch.cat([pooled, torch.tensor(numbers(size, self._settings, is_negative)).to(pooled)])]

    def _encode(self, texts: Sequence[str], adaptation: Adaptation) -> EncodedTexts:
        """Texts that belong together."""
        pipeline, coding = self._pipeline, self._coding
        key = (
            pipeline.text_version,
            tuple((use.kind, use.version, use.te, use.dyn) for use in adaptation.networks),
            tuple((file.name, file_version(file.path)) for file in self._embeddings),
            coding,
            tuple(texts),
        )

        return self._cache.get(key, lambda: encode_texts(pipeline.encoders(adaptation), [self._chunks(text) for text in texts], coding))

    def _chunks(self, text: str) -> list[Chunk]:
        return chunk_prompt(self._tokenizer, text, self._coding, self._index.find)

    def _hashes(self, texts: Sequence[str]) -> list[str]:
        """ "name: hash" of the embeddings in these texts, in the order of their chunks."""
        columns = zip_longest(*map(self._chunks, texts), fillvalue=Chunk())
        names = dict.fromkeys(embedding.name for column in columns for chunk in column for _, embedding in chunk.fixes)
        known = {file.name: file.hash for file in self._embeddings}
        return [f"{name}: {known[name]}" for name in names if known.get(name)]

    def _used(self, prompt: str, notes: _Notes) -> dict[str, str]:
        used = lora_hashes(prompt, self._networks.values())
        used |= {"TI hashes": ", ".join(notes.hashes)} if notes.hashes else {}
        if self._coding.emphasis != "Original" and notes.has_emphasis:
            used["Emphasis"] = self._coding.emphasis
        return used


def lora_hashes(prompt: str, networks: Iterable[NetworkFile]) -> dict[str, str]:
    """A1111's infotext pair for the LoRAs that a prompt names; empty if it has none."""
    known = {file.name: file.hash for file in networks if file.kind == "lora" and file.hash}
    names = dict.fromkeys(tag.name for tag in take_networks(prompt)[1] if network_kind(tag) == "lora" and tag.name in known)
    # A1111 leaves out what would part the list.
    hashes = [f"{name.replace(':', '').replace(',', '')}: {known[name]}" for name in names]
    return {"Lora hashes": ", ".join(hashes)} if hashes else {}


def network_kind(tag: NetworkTag) -> str:
    """The kind of file a tag means; "lyco" is an old name of "lora"."""
    return "lora" if tag.kind == "lyco" else tag.kind


def count_prompt_tokens(tokenizer: CLIPTokenizer, prompt: str, coding: Coding, steps: int = 20) -> tuple[int, int]:
    """Tokens of the longest text that a prompt becomes, and the limit of its last chunk."""
    text, _ = networks_timeline(without_comments(prompt), steps)
    counts = [
        count_tokens(chunk_prompt(tokenizer, segment_text, coding))
        for part in split_and(text)
        for segment_text in dict.fromkeys(segment.text for segment in timeline(part.text, steps))
    ]
    return max(counts)

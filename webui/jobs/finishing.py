"""What extensions do to drawn pictures before they are saved: to whole batches, to each picture, and to the text beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from webui.core.events import Drawn, EngineEvent
from webui.core.hook_ports import Hooks
from webui.core.ports import AnyWork, Work
from webui.core.request import GenerationRequest


class Finishing:
    """Of one job in one run. Without extensions, what comes in goes out."""

    def __init__(self, work: AnyWork, hooks: Hooks) -> None:
        self._work = work if isinstance(work, Work) else None
        self._hooks = hooks
        self._wants_batches = self._work is not None and hooks.wants_batches(self._work.request)
        self._waiting: dict[int, Drawn] = {}

    def take(self, event: EngineEvent) -> Iterator[EngineEvent]:
        """What is to be told now in the place of this event.  Raises ExtensionFailed."""
        if self._work is None or not isinstance(event, Drawn):
            yield event
        elif not self._wants_batches:
            yield self._finished(event)
        else:
            batch = self._batch_of(event.index)
            if any(self._batch_of(index) != batch for index in self._waiting):
                yield from self.rest()
            self._waiting[event.index] = event
            size, done = self._work.request.batch_size, self._work.done
            if all(index in self._waiting or index in done for index in range(batch * size, (batch + 1) * size)):
                yield from self.rest()

    def rest(self) -> Iterator[Drawn]:
        """The pictures of a batch of which some were left out: it was skipped, or the job was ended.  Raises ExtensionFailed."""
        waiting, self._waiting = list(self._waiting.values()), {}
        if self._work is None or not waiting:
            return
        batch = self._batch_of(waiting[0].index)
        images = self._hooks.after_batch([one.image for one in waiting], self._work.request, batch, self._work.settings)
        for one, image in zip(waiting, images, strict=True):
            yield self._finished(replace(one, image=image))

    def _batch_of(self, index: int) -> int:
        assert self._work is not None
        return index // self._work.request.batch_size

    def _finished(self, drawn: Drawn) -> Drawn:
        assert self._work is not None
        request = drawn.request
        if not isinstance(request, GenerationRequest):
            return drawn
        image, pairs = self._hooks.after_image(drawn.image, request, drawn.index, self._work.settings)
        used = self._hooks.infotext_written({**drawn.used, **pairs}, request, drawn.index, self._work.settings)
        return replace(drawn, image=image, used=used)

"""A desk without a program behind it, and a driver that draws what a script asks for without an engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from webui.core.errors import NotFound, UnknownName
from webui.core.request import GenerationRequest
from webui.core.scripts import Draw, DrawFailed, DrawingEnded, Give, Script, Shot, Tell
from webui.core.settings import Settings


class ListedDesk:
    """Knows two of each kind. Pictures are kept in memory."""

    settings = Settings()

    def __init__(self) -> None:
        self.pictures: dict[str, Image.Image] = {}

    def open(self, name: str) -> Image.Image:
        return self.pictures[name]

    def keep(self, image: Image.Image) -> str:
        name = f"{len(self.pictures):064x}"
        self.pictures[name] = image
        return name

    def describe(self, image: Image.Image, model: str) -> str:
        return f"{model} sees {'red' if image.getpixel((0, 0)) == (255, 0, 0) else 'grey'}"

    def checkpoints(self) -> tuple[str, ...]:
        return ("one.safetensors", "sub/two.safetensors")

    def find_checkpoint(self, name: str) -> str:
        return self._known("checkpoint", name, self.checkpoints())

    def vaes(self) -> tuple[str, ...]:
        return ("Automatic", "None", "clear.safetensors")

    def find_vae(self, name: str) -> str:
        return self._known("VAE", name, self.vaes())

    def loras(self) -> tuple[str, ...]:
        return ("ink", "oil")

    def find_lora(self, name: str) -> str:
        if name not in self.loras():
            raise NotFound(f"There is no LoRA {name!r}.")
        return name

    def styles(self) -> tuple[str, ...]:
        return ("dark", "bright")

    def upscalers(self) -> tuple[str, ...]:
        return ("None", "Lanczos", "Nearest", "Sharp 2x")

    def find_upscaler(self, name: str) -> str:
        return self._known("upscaler", name, self.upscalers())

    def enlarge(self, image: Image.Image, upscaler: str, width: int, height: int) -> Image.Image:
        filters = {"Lanczos": Image.Resampling.LANCZOS, "Nearest": Image.Resampling.NEAREST}
        return image if upscaler == "None" else image.resize((width, height), filters[upscaler])

    @staticmethod
    def _known(kind: str, name: str, known: tuple[str, ...]) -> str:
        for one in known:
            if name in one:
                return one
        raise UnknownName(kind, name, known)


@dataclass
class Played:
    """What a script did."""

    draws: list[Draw] = field(default_factory=list)
    given: list[Give] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    @property
    def requests(self) -> list[GenerationRequest]:
        return [draw.request for draw in self.draws]

    @property
    def grids(self) -> list[Image.Image]:
        return [give.image for give in self.given if give.is_grid]


Paint = Callable[[GenerationRequest], Image.Image]


def flat_picture(request: GenerationRequest) -> Image.Image:
    """Of the request's size, in a colour of its seed."""
    return Image.new("RGB", (request.width, request.height), (request.seed % 256, 100, 50))


def play(
    script: Script[Any],
    request: GenerationRequest,
    *,
    desk: ListedDesk | None = None,
    paint: Paint = flat_picture,
    end_after: int | None = None,
    failing: Sequence[int] = (),
    **arguments: Any,
) -> Played:
    """Run a script to its end.  end_after: cancel when so many requests are drawn.   failing: numbers of requests that fail."""
    desk = desk or ListedDesk()
    values = script.read(arguments)
    plan = script.plan(request, values, desk)
    steps, played = script.run(request, values, desk), Played()
    resume: Callable[[], Draw | Give | Tell] = lambda: next(steps)  # noqa: E731
    while True:
        try:
            step = resume()
        except (StopIteration, DrawingEnded):
            break
        resume = lambda: steps.send(())  # noqa: E731
        if isinstance(step, Tell):
            played.told.append(step.text)
        elif isinstance(step, Give):
            played.given.append(step)
        elif len(played.draws) == end_after:
            resume = lambda: steps.throw(DrawingEnded())  # noqa: E731
        else:
            number = len(played.draws)
            played.draws.append(step)
            alone = [step.request.of_image(index) for index in range(step.request.images)]
            shots = tuple(
                Shot(paint(one), one, f"{one.prompt}\nSteps: {one.steps}, Seed: {one.seed}, CFG scale: 7, Version: test") for one in alone
            )
            if number in failing:
                resume = lambda: steps.throw(DrawFailed("it cannot be"))  # noqa: E731
            else:
                resume = lambda shots=shots: steps.send(shots)  # noqa: E731
    if end_after is None and not failing:
        assert sum(draw.request.images for draw in played.draws) == plan.draws, "more or less was announced than drawn"
        assert sum(draw.request.batch_count for draw in played.draws) == plan.batches
        shown = sum(draw.request.images for draw in played.draws if draw.keep == "shown")
        assert shown + sum(not give.is_grid for give in played.given) == plan.pictures
        assert len(played.grids) == plan.grids
    return played

"""What a script is: it makes many pictures of one request, one after another, within one job.

A script is a generator and draws nothing itself: it yields what it wants drawn (`Draw`), is sent the finished pictures (`Shot`), and
may give pictures of its own (`Give`). The jobs room runs it (jobs/script_run.py); the scripts of this program are in plugins/scripts/.

A job may be stopped at any moment and go on after a restart. Its script is then run again from its beginning and is sent the
pictures that are there already. So a script may depend on nothing but its request, its arguments and what it is sent.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeVar

from PIL.Image import Image
from pydantic import ValidationError

from webui.core.errors import InvalidRequest, WebuiError
from webui.core.parameters import Parameter, parameters_of
from webui.core.request import GenerationRequest, describe_validation, invalid
from webui.core.request_parts.base import RequestPart
from webui.core.settings import Settings

# As many pictures may one script draw: a day of work for a quick card.
MAX_DRAWN = 5000

Keep = Literal["shown", "saved", "dropped"]


class ScriptArguments(RequestPart):
    """What a script asks its user, each declared with `parameter`. Fields may be numbers, texts, booleans and tuples of texts."""


A = TypeVar("A", bound=ScriptArguments)


@dataclass(frozen=True)
class Draw:
    """Draw this request's pictures, with these settings changed and these stored styles around its prompts.

    A seed of -1 is drawn, the same again after a restart.   keep: "shown" among the job's pictures, "saved" beside them but not
    shown, or "dropped" when the job ends.   place: of the first one among the shown; None: behind those asked for before.
    pairs: added to the pictures' infotext.
    """

    request: GenerationRequest
    settings: Mapping[str, Any] = field(default_factory=dict)
    styles: tuple[str, ...] = ()
    keep: Keep = "shown"
    place: int | None = None
    pairs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Give:
    """A finished picture of the script's own.

    infotext: what stands beside it.   request: what makes it again; None: the whole job's.   is_grid: it shows other pictures of the job.
    """

    image: Image
    infotext: str
    request: GenerationRequest | None = None
    is_grid: bool = False


@dataclass(frozen=True)
class Tell:
    """Something the user should know."""

    text: str


@dataclass(frozen=True)
class Shot:
    """A picture that was drawn.  request: what draws it alone."""

    image: Image
    request: GenerationRequest
    infotext: str


Steps = Generator[Draw | Give | Tell, Sequence[Shot], None]


class DrawingEnded(Exception):
    """Thrown into a script whose job is ended by somebody. It may catch this, and still give what it can make of what it has.

    shots: what was drawn of the last request.
    """

    def __init__(self, shots: Sequence[Shot] = ()) -> None:
        super().__init__("The job was ended.")
        self.shots = tuple(shots)


class DrawFailed(WebuiError):
    """Thrown into a script when a request of its cannot be drawn. Not caught, it ends the job.  kind: the error's class name."""

    def __init__(self, message: str, kind: str = "WebuiError") -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class Plan:
    """What a script's job will be.

    draws: pictures that the engine draws, in so many batches.   pictures: those of them, and of the script's own, that are shown.
    grids: pictures of pictures.   remark: what else the user should know before it starts.
    """

    draws: int
    batches: int
    pictures: int
    grids: int = 0
    remark: str = ""

    def in_words(self) -> str:
        """For the user, before it starts."""
        drawn = _counted(self.draws, "picture")
        grids = f" and make {_counted(self.grids, 'grid')}" if self.grids else ""
        of_them = f"; {self.pictures} will be shown" if self.pictures != self.draws else ""
        return " ".join(filter(None, (f"Will draw {drawn}{grids}{of_them}.", self.remark)))


class Desk(Protocol):
    """What a script may ask of the program. Names are found as everywhere: exactly, by hash, or by the nearest name."""

    @property
    def settings(self) -> Settings:
        """The job's settings."""
        ...

    def open(self, name: str) -> Image:
        """A picture that a request names.  Raises InvalidRequest when it is not kept any more."""
        ...

    def keep(self, image: Image) -> str:
        """Store a picture; the name by which a request may start from it."""
        ...

    def describe(self, image: Image, model: str) -> str:
        """A picture in words.  model: "clip" for a sentence, "deepdanbooru" or a tagger's name for tags.  Raises NotFound."""
        ...

    def checkpoints(self) -> tuple[str, ...]:
        """Names of all checkpoints."""
        ...

    def find_checkpoint(self, name: str) -> str:
        """The name as a request says it.  Raises UnknownName."""
        ...

    def vaes(self) -> tuple[str, ...]:
        """Names of all VAEs, "Automatic" and "None" too."""
        ...

    def find_vae(self, name: str) -> str:
        """The name as a request says it.  Raises UnknownName."""
        ...

    def loras(self) -> tuple[str, ...]:
        """Names of all LoRAs."""
        ...

    def find_lora(self, name: str) -> str:
        """The name as given.  Raises NotFound."""
        ...

    def styles(self) -> tuple[str, ...]:
        """Names of all stored styles."""
        ...

    def upscalers(self) -> tuple[str, ...]:
        """Names of all upscalers of pictures, "None" first."""
        ...

    def find_upscaler(self, name: str) -> str:
        """The name as it is listed.  Raises UnknownName."""
        ...

    def enlarge(self, image: Image, upscaler: str, width: int, height: int) -> Image:
        """The picture at this size, by a listed upscaler; itself with "None".

        For a running script alone.  Raises DrawingEnded when the job is ended meanwhile, DrawFailed when it cannot be done.
        """
        ...


class Script(ABC, Generic[A]):
    """One script. It keeps nothing between its runs; several jobs may run it at once.

    title: its name.   arguments: what it asks.   positions: names of the arguments in the order in which A1111's API sends them,
    "" for one that says nothing; empty: as declared.   needs_picture: it begins with a picture, so txt2img does not offer it.
    file_argument: the argument that a page may fill with a text file, if there is one.
    """

    title: str
    arguments: type[A]
    positions: tuple[str, ...] = ()
    needs_picture: bool = False
    file_argument: str = ""

    @abstractmethod
    def plan(self, request: GenerationRequest, arguments: A, desk: Desk) -> Plan:
        """What a run will be.  Raises InvalidRequest when it cannot be done; then the job is refused."""

    @abstractmethod
    def run(self, request: GenerationRequest, arguments: A, desk: Desk) -> Steps:
        """Make the pictures."""

    def choices(self, name: str, values: Mapping[str, Any], desk: Desk) -> tuple[str, ...] | None:
        """What an argument may be where that is found at run time; None: as declared.

        values: the other arguments as they stand in a form, unchecked.
        """
        return None

    def read(self, values: Mapping[str, Any]) -> A:
        """The arguments from outside values.  Raises InvalidRequest."""
        try:
            return self.arguments.model_validate(dict(values))
        except ValidationError as error:
            single = invalid(error)
            raise InvalidRequest(f"{self.title}: {describe_validation(error) if type(single) is InvalidRequest else single}") from None

    def read_positions(self, values: Sequence[Any], *, needs_picture: bool) -> dict[str, Any]:
        """A1111's list of arguments by name; those left out are as declared. A choice may be given by its number, as there.

        needs_picture: the request begins with a picture; a script may count its choices differently then.
        """
        names = self.positions or tuple(self.arguments.model_fields)
        if len(values) > len(names):
            raise InvalidRequest(
                f"script_args: got {len(values)} values; {self.title} takes {len(names)}: {', '.join(filter(None, names))}."
            )
        declared = parameters_of(self.arguments)
        return {name: _chosen(declared[name], value) for name, value in zip(names, values, strict=False) if name and value is not None}


def check_size(plan: Plan) -> None:
    """Raises InvalidRequest when a plan is more than one job may be."""
    if plan.draws > MAX_DRAWN:
        raise InvalidRequest(
            f"This would draw {plan.draws} pictures; a script draws at most {MAX_DRAWN}. Ask for fewer values, or fewer batches."
        )
    if plan.draws < 1:
        raise InvalidRequest("This would draw no picture at all. Give the script something to draw.")


def _chosen(parameter: Parameter, value: Any) -> Any:
    by_number = parameter.choices and isinstance(value, int) and not isinstance(value, bool)
    if by_number and parameter.choices and 0 <= value < len(parameter.choices):
        return parameter.choices[value]
    return value


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"

"""Every error this program raises on purpose.

WebuiError
├── InvalidRequest       the caller asked for something that cannot be (HTTP 400)
│   └── UnknownName      a name that no model, sampler, schedule, ... has; offers the nearest (HTTP 400)
├── Forbidden            what is asked for is not allowed as the program was started (HTTP 403)
├── NotFound             the thing asked for is not there (HTTP 404)
├── QueueFull            too many jobs are waiting (HTTP 429)
├── Closing              the program is ending; what was queued goes on at the next start (HTTP 503)
├── ModelError           a model file cannot be used, with the reason
├── OutOfMemory          the picture does not fit, even after halving and tiling
├── ExtensionFailed      an extension's code failed; the message names it (HTTP 500)
└── StartupError         the program cannot start; one sentence for the terminal

A message says the value received, the rule, and the way out, for the person who will read it.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class WebuiError(Exception):
    """Base of all errors with a message meant for the user."""


class InvalidRequest(WebuiError, ValueError):
    """The request contradicts a rule; the message names value, rule and way out.

    A ValueError too, so that a validator may raise it and pydantic goes on to the next field.
    """


class UnknownName(InvalidRequest):
    """A name was not found among the known ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        super().__init__(f"Unknown {kind} {name!r}. {_suggestion(name, list(known))}")
        self.kind = kind
        self.name = name

    def __reduce__(self) -> tuple[object, ...]:
        return _restore_error, (type(self), str(self), self.__dict__)


class Forbidden(WebuiError):
    """Nobody may ask for this as the program was started; the message says how to start it."""


class NotFound(WebuiError):
    """The thing asked for does not exist (any more)."""


class QueueFull(WebuiError):
    """The queue holds as many jobs as it may; try again later."""


class Closing(WebuiError):
    """The program is ending and cannot wait for an answer any more."""


class ModelError(WebuiError):
    """A model file is damaged, of an unknown family, or not what was asked for."""


class OutOfMemory(WebuiError):
    """The device has too little memory for this picture, however it is divided."""


class ExtensionFailed(WebuiError):
    """An extension's code failed. Who sees the message can go on without that extension."""


class StartupError(WebuiError):
    """The program cannot start; the message is all the user needs to see."""


def _suggestion(name: str, known: list[str]) -> str:
    lowered = {candidate.lower(): candidate for candidate in reversed(known)}
    close = [lowered[match] for match in get_close_matches(name.lower(), lowered, n=3, cutoff=0.5)]
    if close:
        return "Did you mean " + " or ".join(repr(match) for match in close) + "?"
    if not known:
        return "There is none."
    return "Known: " + ", ".join(known[:30]) + ("." if len(known) <= 30 else ", ...")


def _restore_error(cls: type[WebuiError], message: str, state: dict[str, object]) -> WebuiError:
    error = cls.__new__(cls)
    Exception.__init__(error, message)
    error.__dict__.update(state)
    return error

"""Calling an extension's functions: with the arguments that each names, with the time it takes, and with its name in every error."""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from webui.core.errors import ExtensionFailed, InvalidRequest
from webui.core.scripts import Draw, DrawFailed, DrawingEnded, Give, Steps, Tell

log = logging.getLogger(__name__)

# How names of the program's own plugins begin. A folder cannot be called so.
OWN = "webui/"
# A hook that takes longer is named in the log with its time.
SLOW_SECONDS = 1.0


class Calls:
    """How the code of extensions is run.  slow_seconds: see SLOW_SECONDS."""

    def __init__(self, slow_seconds: float = SLOW_SECONDS) -> None:
        self._slow = slow_seconds

    def call(self, extension: str, place: str, function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
        """What the function answers.  Raises InvalidRequest when it refuses with one, ExtensionFailed for whatever else it raises.

        place: the hook's or method's name, for messages.   arguments: what it may take; it gets those that it names.
        """
        with self.named(extension, place):
            return function(**accepted(function, arguments))

    @contextmanager
    def named(self, extension: str, place: str) -> Iterator[None]:
        """A stretch of an extension's code: its errors are named and its time is watched."""
        if is_own(extension):
            yield
            return
        began = time.perf_counter()
        try:
            yield
        except (ExtensionFailed, DrawingEnded, DrawFailed):
            raise
        except InvalidRequest as error:
            raise InvalidRequest(f"Extension '{extension}' refused the request: {error}") from error
        except (Exception, SystemExit) as error:
            log.exception("Extension '%s' failed in %s", extension, place)
            raise ExtensionFailed(f"Extension '{extension}' failed in {place}: {told(error)}. Disable it to go on without it.") from error
        finally:
            self.watch(extension, place, time.perf_counter() - began)

    def steps(self, extension: str, place: str, inner: Steps) -> Steps:
        """A script's generator whose own errors are named; what the program throws into it passes through it."""
        resume: Callable[[], Draw | Give | Tell] = partial(next, inner)
        try:
            while (step := self._resumed(extension, place, resume)) is not None:
                try:
                    resume = partial(inner.send, (yield step))
                except (DrawingEnded, DrawFailed) as error:
                    resume = partial(inner.throw, error)
        finally:
            inner.close()

    def _resumed(self, extension: str, place: str, resume: Callable[[], Draw | Give | Tell]) -> Draw | Give | Tell | None:
        """The script's next step; None at its end."""
        with self.named(extension, place):
            try:
                return resume()
            except StopIteration:
                return None

    def watch(self, extension: str, place: str, seconds: float) -> None:
        """Report what took long."""
        if seconds >= self._slow:
            log.warning("Extension '%s' took %.1f s in %s.", extension, seconds, place)


def is_own(extension: str) -> bool:
    """Whether it is a plugin of the program's: its errors are the program's own, with nobody's name."""
    return extension.startswith(OWN)


def accepted(function: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the arguments that the function takes: all where it takes any."""
    parameters = inspect.signature(function).parameters
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values()):
        return dict(arguments)
    return {name: value for name, value in arguments.items() if name in parameters}


def told(error: BaseException) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__

"""Prompts from file or textbox: one job's worth of pictures for each line."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from webui.core.errors import InvalidRequest, UnknownName
from webui.core.parameters import parameter
from webui.core.request import GenerationRequest
from webui.core.samplers import split_combined_name
from webui.core.scripts import MAX_DRAWN, Desk, Draw, DrawFailed, Plan, Script, ScriptArguments, Steps, Tell

# --key of a line: the request's field, and how its text is read.
NUMBERS: Mapping[str, str] = MappingProxyType({
    "seed": "seed", "subseed": "subseed", "seed_resize_from_h": "seed_resize_from_h", "seed_resize_from_w": "seed_resize_from_w",
    "batch_size": "batch_size", "n_iter": "batch_count", "steps": "steps", "width": "width", "height": "height",
    "subseed_strength": "subseed_strength", "cfg_scale": "cfg_scale",
})  # fmt: skip
SIZES = ("seed_resize_from_h", "seed_resize_from_w")
TEXTS = ("prompt", "negative_prompt", "styles", "sampler_name", "sampler_index", "sd_model")
SWITCHES = ("tiling", "restore_faces", "do_not_save_samples", "do_not_save_grid")
WITHOUT_MEANING = ("outpath_samples", "outpath_grids", "prompt_for_display", "do_not_save_samples", "do_not_save_grid")


class PromptsFromFileArguments(ScriptArguments):
    """The lines, and how they are drawn."""

    iterate_seed: bool = parameter(False, title="Iterate seed every line", help="Each line goes on with the next seeds.")
    same_seed: bool = parameter(False, title="Use same random seed for all lines", help="Where no seed is given.")
    prompt_position: str = parameter(
        "start", title="Insert prompts at the", help="Where a line stands in the request's prompt.", choices=("start", "end")
    )
    prompt_txt: str = parameter(
        "", title="List of prompt inputs", help='One a line: a prompt, or --prompt "a cat" --steps 30 ...', max_length=500_000
    )


class PromptsFromFile(Script[PromptsFromFileArguments]):
    """A line is a prompt; or, when it begins with "--", a list of keys and values as in A1111."""

    title = "Prompts from file or textbox"
    arguments = PromptsFromFileArguments
    file_argument = "prompt_txt"

    def plan(self, request: GenerationRequest, arguments: PromptsFromFileArguments, desk: Desk) -> Plan:
        """All lines are read and checked before the first is drawn."""
        steps = list(_steps(request, arguments, desk))
        if not steps:
            raise InvalidRequest("Prompts from file: got no line. Write one prompt a line, or choose a file.")
        drawn = sum(step.request.images for step in steps)
        return Plan(drawn, sum(step.request.batch_count for step in steps), drawn)

    def run(self, request: GenerationRequest, arguments: PromptsFromFileArguments, desk: Desk) -> Steps:
        """A line that cannot be drawn is told and left out."""
        for number, step in enumerate(_steps(request, arguments, desk), start=1):
            try:
                yield step
            except DrawFailed as error:
                yield Tell(f"Line {number} was not drawn: {error}")


def read_line(line: str) -> dict[str, str]:
    """The keys and values of a line that begins with "--"; of any other, the prompt.  Raises InvalidRequest."""
    if not line.startswith("--"):
        return {"prompt": line}
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise InvalidRequest(f"{line[:80]!r} cannot be read ({error}). Close every quotation mark.") from None
    values: dict[str, str] = {}
    while words:
        key = words.pop(0)
        if not key.startswith("--") or not words:
            raise InvalidRequest(f"{line[:80]!r}: got {key!r}; write --key value, with quotation marks around a value that has spaces.")
        values[key.removeprefix("--")] = words.pop(0)
    return values


def _steps(request: GenerationRequest, arguments: PromptsFromFileArguments, desk: Desk) -> Iterator[Draw]:
    seed = request.seed
    is_random = request.script_random_seed and not (arguments.iterate_seed or arguments.same_seed)
    lines = [line.strip() for line in arguments.prompt_txt.splitlines()]
    for number, line in enumerate(filter(None, lines), start=1):
        if number > MAX_DRAWN:
            raise InvalidRequest(f"Prompts from file: got more than {MAX_DRAWN} lines. Draw some of them first.")
        try:
            step = _step(request.changed(seed=-1 if is_random else seed), read_line(line), arguments, desk)
        except InvalidRequest as error:
            raise InvalidRequest(f"Prompts from file, line {number}: {error}") from None
        if arguments.iterate_seed:
            seed = (seed + step.request.images) % 2**63
        yield step


def _step(request: GenerationRequest, values: Mapping[str, str], arguments: PromptsFromFileArguments, desk: Desk) -> Draw:
    changes: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    styles: tuple[str, ...] = ()
    for key, text in values.items():
        if key in NUMBERS:
            changes[NUMBERS[key]] = max(0, _number(key, text)) if key in SIZES else _number(key, text)
        elif key in ("prompt", "negative_prompt"):
            changes[key] = _joined(text, getattr(request, key), arguments.prompt_position)
        elif key in ("sampler_name", "sampler_index"):
            sampler, schedule = split_combined_name(text)
            changes |= {"sampler": sampler, **({"schedule": schedule} if schedule else {})}
        elif key == "sd_model":
            changes["checkpoint"] = desk.find_checkpoint(text)
        elif key == "styles":
            styles = tuple(name.strip() for name in text.split(","))
        elif key in SWITCHES:
            settings |= _switch(key, text)
        elif key not in WITHOUT_MEANING:
            raise UnknownName("key", f"--{key}", [f"--{name}" for name in (*NUMBERS, *TEXTS, *SWITCHES)])
    return Draw(request.changed(**changes), settings, styles)


def _switch(key: str, text: str) -> dict[str, Any]:
    if text.lower() not in ("true", "false", "1", "0"):
        raise InvalidRequest(f"--{key}: got {text[:80]!r}; write true or false.")
    wanted = text.lower() in ("true", "1")
    if key == "restore_faces" and wanted:
        raise InvalidRequest("--restore_faces: face restoration is not available in a script; leave it out.")
    return {"tiling": wanted} if key == "tiling" else {}


def _number(key: str, text: str) -> int | float:
    kind = float if key in ("cfg_scale", "subseed_strength") else int
    try:
        return kind(text)
    except ValueError:
        raise InvalidRequest(f"--{key}: got {text[:80]!r}; write a number.") from None


def _joined(line: str, prompt: str, position: str) -> str:
    return " ".join(filter(None, (line, prompt) if position == "start" else (prompt, line)))

"""File names: A1111's patterns, and the one function through which any text must go before it becomes a name on disk."""

from __future__ import annotations

import hashlib
import re
import string
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from webui.core.errors import InvalidRequest
from webui.core.request import GenerationRequest
from webui.core.samplers import find_sampler, resolve_schedule

MAX_VALUE_BYTES = 128
MAX_NAME_BYTES = 200
PROMPT_WORDS = 8
HASH_LENGTH = 8
DEFAULT_TIME = "%Y%m%d%H%M%S"

# What Windows, macOS or Linux refuse, and what a shell or a URL would misread ("#").
_FORBIDDEN = frozenset('#<>:"/\\|?*')
# Control and format characters (line ends, right-to-left overrides), lone surrogates, line separators.
_FORBIDDEN_CATEGORIES = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])\s*(\.|$)", re.IGNORECASE)
_NAMED = re.compile(r"\[(\w+)((?:<[^<>]*>)*)\]", re.ASCII)
_ARGUMENT = re.compile(r"<([^<>]*)>")
_SEPARATORS = re.compile(r"[/\\]+")
_NOT_WORDS = re.compile(rf"[\s{re.escape(string.punctuation)}]+")
_DIRECTIVE = re.compile(r"%([aAbBcdfHIjmMpSUwWxXyYzZ%])")
_NUMBER = re.compile(r"(\d{1,9})[-.]", re.ASCII)


@dataclass(frozen=True)
class NameFacts:
    """What a pattern may name.

    job: the whole job's request.   picture: the request of this picture alone.   index: its place in the job, from 0.
    started: when the job began.   now: when the picture is saved.
    """

    job: GenerationRequest
    picture: GenerationRequest
    index: int
    model_name: str
    model_hash: str | None
    vae_name: str | None
    started: datetime
    now: datetime


def safe_name(text: str, *, max_bytes: int = MAX_NAME_BYTES) -> str:
    """Text as one part of a path that every system takes and that leads nowhere: no separators, no "..", no device names.

    Composed (NFC), at most max_bytes of UTF-8, without leading dots and trailing dots or spaces. May come out empty.
    """
    composed = unicodedata.normalize("NFC", text)
    clean = "".join("_" if _is_forbidden(character) else character for character in composed)
    # Trimmed after the cut, which may lay a dot or a device name bare; one byte is left for the "_" before such a name.
    name = _cut(clean.lstrip(" ."), max_bytes - 1).rstrip(" .")
    return f"_{name}" if _RESERVED.match(name) else name


def file_stem(number: int, pattern: str, facts: NameFacts) -> str:
    """A picture's file name without suffix: its number in the folder, then the pattern."""
    decoration = safe_name(render(pattern, facts))
    return f"{number:05}-{decoration}" if decoration else f"{number:05}"


def folder_parts(pattern: str, facts: NameFacts) -> list[str]:
    """The subfolders a pattern names; separators count only where the pattern itself has them."""
    parts = [safe_name(render(part, facts)) for part in _SEPARATORS.split(pattern)]
    return [part for part in parts if part]


def render(pattern: str, facts: NameFacts) -> str:
    """Put values in the place of [names]; unknown names stay as text. The result is text, not yet a safe name.

    A value that does not apply ("[batch_number]" of a single picture) also drops the text before it, up to the name before.
    """
    values = _values(facts)
    written: list[str] = []
    end = 0
    for match in _NAMED.finditer(pattern):
        before, end = pattern[end : match.start()], match.end()
        name, arguments = match[1].lower(), _ARGUMENT.findall(match[2])
        value = _value_of(name, arguments, facts, unknown=match[0]) if arguments else values.get(name, match[0])
        if value is not None:
            written += [before, value]
    return "".join([*written, pattern[end:]])


def next_number(folder: Path, basename: str = "") -> int:
    """One more than the highest number that a file in the folder begins with, or has behind "basename-"; 0 in an empty one."""
    start = f"{basename}-" if basename else ""
    names = [path.name.removeprefix(start) for path in folder.iterdir() if path.name.startswith(start)]
    numbers = [int(match[1]) for name in names if (match := _NUMBER.match(name))]
    return max(numbers, default=-1) + 1


def make_folder_inside(root: Path, parts: list[str]) -> Path:
    """Make root/part/part/... where missing.

    Raises InvalidRequest when a link on the way leads out of root; root itself may be a link.
    """
    root.mkdir(parents=True, exist_ok=True)
    real = root.resolve(strict=True)
    folder = root
    for part in parts:
        folder /= part
        folder.mkdir(exist_ok=True)
        if not folder.resolve(strict=True).is_relative_to(real):
            raise InvalidRequest(
                f"{folder.relative_to(root.parent).as_posix()!r} is a link that leads out of {root.name!r}; nothing is saved there. "
                f"Remove the link, or make {root.name!r} itself the link."
            )
    return folder


def _is_forbidden(character: str) -> bool:
    return character in _FORBIDDEN or unicodedata.category(character) in _FORBIDDEN_CATEGORIES


def _cut(text: str, max_bytes: int) -> str:
    return text.encode(errors="replace")[:max_bytes].decode(errors="ignore")


def _values(facts: NameFacts) -> dict[str, str | None]:
    job, picture = facts.job, facts.picture
    is_single = job.batch_size == 1
    return {
        "seed": str(picture.seed),
        "seed_first": str(picture.seed if is_single else job.of_image(0).seed),
        "seed_last": None if is_single else str(job.of_image(job.images - 1).seed),
        "steps": str(picture.steps),
        "cfg": str(picture.cfg_scale),
        "width": str(picture.width),
        "height": str(picture.height),
        "sampler": picture.sampler,
        "scheduler": _schedule(picture),
        "sampler_scheduler": f"{picture.sampler} {_schedule(picture)}".strip(),
        "model_name": _cut(facts.model_name, MAX_VALUE_BYTES),
        "model_hash": facts.model_hash or "",
        "vae_filename": (facts.vae_name or "NoneType").partition(".")[0],
        "date": facts.now.strftime("%Y-%m-%d"),
        "datetime": facts.now.strftime(DEFAULT_TIME),
        "job_timestamp": facts.started.strftime(DEFAULT_TIME),
        "prompt": _cut(picture.prompt.replace(" ", "_"), MAX_VALUE_BYTES),
        "prompt_spaces": _cut(picture.prompt, MAX_VALUE_BYTES),
        "prompt_words": _cut(_first_words(picture.prompt), MAX_VALUE_BYTES),
        "prompt_hash": _hash(picture.prompt),
        "negative_prompt_hash": _hash(picture.negative_prompt),
        "full_prompt_hash": _hash(f"{picture.prompt} {picture.negative_prompt}"),
        "batch_number": None if is_single else str(facts.index % job.batch_size + 1),
        "batch_size": str(job.batch_size),
        "generation_number": None if job.images == 1 else str(facts.index + 1),
        "none": "",
    }


def _value_of(name: str, arguments: list[str], facts: NameFacts, *, unknown: str) -> str:
    texts = {
        "prompt_hash": facts.picture.prompt,
        "negative_prompt_hash": facts.picture.negative_prompt,
        "full_prompt_hash": f"{facts.picture.prompt} {facts.picture.negative_prompt}",
    }
    if name == "datetime":
        return _write_time(facts.now, *arguments[:2])
    if name in texts and arguments[0].isdecimal():
        return _hash(texts[name], int(arguments[0][:3]))
    return unknown


def _write_time(moment: datetime, template: str, zone: str = "") -> str:
    """The moment by a strftime template; an unknown zone means the system's own, as in A1111."""
    local = moment.astimezone()
    if zone:
        try:
            local = moment.astimezone(ZoneInfo(zone))
        except (ValueError, LookupError, OSError):
            pass
    # Only plain directives, one at a time: what else a C library's strftime does with outside text is its own secret.
    return _DIRECTIVE.sub(lambda match: local.strftime(match[0]), template or DEFAULT_TIME)


def _schedule(request: GenerationRequest) -> str:
    return resolve_schedule(find_sampler(request.sampler), request.schedule) or ""


def _first_words(prompt: str) -> str:
    words = [word for word in _NOT_WORDS.split(prompt[:10_000]) if word]
    return " ".join(words[:PROMPT_WORDS]) or "empty"


def _hash(text: str, length: int = HASH_LENGTH) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:length]

"""The settings: declared once under A1111's option names, stored in config.json, read as a frozen snapshot.

Defaults < config.json < command line < a job's own overrides.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from webui.core.errors import InvalidRequest, StartupError, UnknownName
from webui.core.parameters import parameter, parameters_of
from webui.core.request import invalid


class Settings(BaseModel):
    """All settings at one moment. A job keeps the snapshot it was submitted with."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    sd_model_checkpoint: str = parameter(
        "", title="Checkpoint", help="The model that draws when a request names none.", section="Stable Diffusion"
    )
    sd_vae: str = parameter(
        "Automatic", title="VAE", section="Stable Diffusion",
        help="Automatic: a VAE file named like the checkpoint, else the checkpoint's own. None: always its own.",
    )  # fmt: skip
    CLIP_stop_at_last_layers: int = parameter(
        1, title="Clip skip", help="Stop the text encoder this many layers early; 1 uses all.",
        minimum=1, maximum=12, step=1, infotext="Clip skip", section="Stable Diffusion",
    )  # fmt: skip
    comma_padding_backtrack: int = parameter(
        20, title="Prompt comma backtrack", minimum=0, maximum=74, step=1, section="Stable Diffusion",
        help="A prompt longer than 75 tokens is cut at a comma if one is this near.",
    )  # fmt: skip
    emphasis: str = parameter(
        "Original", title="Emphasis mode", choices=("None", "Ignore", "Original", "No norm"), infotext="Emphasis",
        help="What (words:1.3) do to the text encoding.", section="Stable Diffusion",
    )  # fmt: skip
    randn_source: str = parameter(
        "GPU", title="Random number generator", choices=("GPU", "CPU"), infotext="RNG", section="Stable Diffusion",
        help="Where noise is drawn. CPU gives the same picture on every machine.",
    )  # fmt: skip
    eta_ancestral: float = parameter(
        1.0, title="Eta for ancestral samplers", help="How much fresh noise each step adds; 0 adds none.",
        minimum=0.0, maximum=1.0, step=0.01, infotext="Eta", section="Sampler parameters",
    )  # fmt: skip
    eta_ddim: float = parameter(
        0.0, title="Eta for DDIM", help="How much fresh noise each step adds; 0 adds none.",
        minimum=0.0, maximum=1.0, step=0.01, infotext="Eta DDIM", section="Sampler parameters",
    )  # fmt: skip
    samples_save: bool = parameter(
        True, title="Always save pictures", help="Save every picture drawn in the browser.", section="Saving images"
    )
    enable_pnginfo: bool = parameter(
        True, title="Write infotext into pictures", help="So that a picture says how it was made.", section="Saving images"
    )
    save_to_dirs: bool = parameter(True, title="Save into subfolders", help="Named by the pattern below.", section="Saving images")
    directories_filename_pattern: str = parameter(
        "[date]", title="Subfolder pattern", help="[date], [model_name], [seed], ...", max_length=200, section="Saving images"
    )
    samples_filename_pattern: str = parameter(
        "", title="File name pattern", help="Empty: number and seed.  [seed], [steps], [cfg], ...", max_length=200, section="Saving images"
    )
    add_model_name_to_info: bool = parameter(True, title="Write the model's name", help="Into the infotext.", section="Infotext")
    add_model_hash_to_info: bool = parameter(True, title="Write the model's hash", help="Into the infotext.", section="Infotext")
    add_version_to_infotext: bool = parameter(True, title="Write the program's version", help="Into the infotext.", section="Infotext")
    live_previews_enable: bool = parameter(
        True, title="Show live previews", help="While a picture is being drawn.", section="Live previews"
    )
    show_progress_every_n_steps: int = parameter(
        1, title="Preview every so many steps", help="-1: only between batches.", minimum=-1, maximum=32, step=1, section="Live previews"
    )
    show_progress_type: str = parameter(
        "Approx cheap", title="Preview method", choices=("Full", "Approx cheap", "TAESD"), section="Live previews",
        help="Full decodes with the VAE; TAESD needs its weights in models/VAE-approx.",
    )  # fmt: skip

    @field_validator("directories_filename_pattern", "samples_filename_pattern")
    @classmethod
    def _stays_inside_outputs(cls, value: str) -> str:
        if re.match(r"[/\\]|[A-Za-z]:", value) or ".." in re.split(r"[/\\]", value):
            raise InvalidRequest(f"File name pattern: got {value!r}; it must stay inside outputs/: no '..', no drive, no '/' at the start.")
        return value

    @field_validator("*")
    @classmethod
    def _one_of_the_choices(cls, value: Any, info: Any) -> Any:
        choices = parameters_of(cls)[info.field_name].choices
        if choices and value not in choices:
            raise UnknownName(f"value for {info.field_name}", str(value), choices)
        return value

    def changed(self, changes: Mapping[str, Any]) -> Settings:
        """A validated copy with these settings changed.  Raises InvalidRequest; then nothing is changed."""
        for key in changes:
            if key not in type(self).model_fields:
                raise UnknownName("setting", key, type(self).model_fields)
        try:
            return type(self).model_validate({**self.model_dump(), **changes})
        except ValidationError as error:
            raise invalid(error) from None


class SettingsStore:
    """Owner of the settings: reads config.json at start, writes it atomically at each change. Safe to call from any thread.

    command_line: settings given by flags; they win over the file and are never written to it.
    """

    def __init__(self, path: Path, command_line: Mapping[str, Any] | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._command_line = dict(command_line or {})
        self._unknown: dict[str, Any] = {}
        self._stored = self._read()
        self._current = self._stored.changed(self._command_line)

    def snapshot(self) -> Settings:
        """The settings now; frozen, so it may be kept."""
        return self._current

    def change(self, changes: Mapping[str, Any]) -> Settings:
        """Validate all changes, then apply and store all of them.  Raises InvalidRequest with none applied."""
        with self._lock:
            stored = self._stored.changed(changes)
            current = self._current.changed(changes)
            self._write(stored)
            self._stored, self._current = stored, current
            return current

    def _read(self) -> Settings:
        if not self._path.exists():
            return Settings()
        try:
            values = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise StartupError(f"{self._path} cannot be read ({error}). Mend it, or move it away to start with default settings.") from None
        if not isinstance(values, dict):
            raise StartupError(f"{self._path} must hold one JSON object, not a {type(values).__name__}. Mend it, or move it away.")
        known = {key: value for key, value in values.items() if key in Settings.model_fields}
        self._unknown = {key: value for key, value in values.items() if key not in known}
        try:
            return Settings().changed(known)
        except InvalidRequest as error:
            raise StartupError(f"{self._path}: {error} Mend that line, or delete it to get the default.") from None

    def _write(self, settings: Settings) -> None:
        """Only what differs from the defaults is written; keys we do not know (an A1111 config.json's) are kept."""
        defaults = {name: declared.default for name, declared in parameters_of(Settings).items()}
        differing = {key: value for key, value in settings.model_dump().items() if value != defaults[key]}
        write_atomically(self._path, json.dumps({**self._unknown, **differing}, indent=4, ensure_ascii=False).encode())


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file so that a reader, or a crash, meets either the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise

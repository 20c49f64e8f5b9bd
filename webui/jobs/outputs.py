"""Pictures on disk: each is saved exactly once, under a name nobody else has, and found again by its id or its job."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import Any, Literal

from pydantic import ValidationError

from webui import __version__
from webui.core.errors import InvalidRequest, NotFound, WebuiError
from webui.core.events import Drawn
from webui.core.extras import ExtrasRequest
from webui.core.files import publish as _publish
from webui.core.images import INFOTEXT_KEY, encode_picture, encode_png
from webui.core.infotext import write_infotext
from webui.core.paths import Paths
from webui.core.ports import NetworkFile
from webui.core.record import NamedModel, settings_of_picture, storable, write_record
from webui.core.request import GenerationRequest
from webui.core.result import NOT_SHOWN, Picture
from webui.jobs.database import Database
from webui.jobs.filenames import NameFacts, file_stem, folder_parts, make_folder_inside, next_number, safe_name
from webui.jobs.gallery import Entry, Gallery
from webui.jobs.job import Job
from webui.jobs.store import kind_of_request

log = logging.getLogger(__name__)

# A1111's names of folders and files.
EXTRAS_FOLDER, GRID_NAME = "extras-images", "grid"
# A1111's name of the text that says what was done to a picture after it was drawn.
POSTPROCESSING_KEY = "postprocessing"
# Not a bare number: A1111 takes versions below its own 1.6 as a wish for its old arithmetic.
RECORD_KINDS: Mapping[str, Literal["lora", "embedding", "hypernetwork"]] = MappingProxyType(
    {"lora": "lora", "embedding": "embedding", "hypernet": "hypernetwork"}
)
PROGRAM_VERSION = f"webui {__version__}"


@dataclass(frozen=True)
class ModelsUsed:
    """What drew a picture, for its infotext, record and file name.

    *_hash: ten hex digits.   device: what the engine calls it.   extension_settings: of extensions, those that change pictures.
    """

    model_name: str
    model_hash: str | None = None
    vae_name: str | None = None
    vae_hash: str | None = None
    networks: tuple[NetworkFile, ...] = ()
    device: str = ""
    extension_settings: Mapping[str, Any] = field(default_factory=dict)


class Outputs:
    """Saves pictures and knows them.

    A picture's row is written before its file. The bytes go to a hidden file in the same folder; linking that to the final
    name is the moment of saving, and fails if the name is taken. Whatever moment the process dies at, `recover` can tell
    from row and link whether the picture was saved, so it is neither lost nor drawn twice.
    """

    def __init__(self, paths: Paths, database: Path) -> None:
        self._paths = paths
        self._database = Database(database)
        self._gallery = Gallery(self._database)

    def save(self, job: Job, drawn: Drawn, models: ModelsUsed, *, place: int | None = None, infotext: str | None = None) -> Picture:
        """Write one finished picture to disk; it is there, whole, when this returns.

        place: its index in the job where that differs from its place in the job's request; negative for a grid.
        infotext: in place of the one that the request would get.
        Raises WebuiError when the disk does not take it, InvalidRequest when a link leads out of the outputs folder.
        """
        infotext = _infotext(job, drawn, models) if infotext is None else infotext
        index = drawn.index if place is None else place
        data, suffix = _file(job, drawn, models, infotext, index)
        entry = Entry(
            id=secrets.token_urlsafe(16),
            job_id=job.id,
            position=index,
            saved=job.save,
            path="",
            sha256=hashlib.sha256(data).hexdigest(),
            request=drawn.request.model_dump_json(),
            infotext=infotext,
        )
        try:
            path = self._write(entry, data, *self._place(job, drawn, models, index, suffix))
        except OSError as error:
            where = "outputs" if job.save else "state/unsaved"
            raise WebuiError(
                f"Picture {drawn.index + 1} could not be saved in {where}: {error.strerror or error}. Mend that, and run the job again."
            ) from error
        return Picture(entry.id, job.id, index, path, drawn.request, infotext, job.save)

    def pictures_of(self, job_id: str) -> tuple[Picture, ...]:
        """A job's saved pictures in order of their index."""
        entries = [entry for entry in self._gallery.of_job(job_id) if entry.is_complete]
        return tuple(picture for picture in map(self._picture, entries) if picture)

    def indices_of(self, job_id: str) -> frozenset[int]:
        """Which of a job's pictures are saved."""
        return frozenset(entry.position for entry in self._gallery.of_job(job_id) if entry.is_complete)

    def picture(self, picture_id: str) -> Picture:
        """The picture of that id.  Raises NotFound, also when its file is gone or a link leads its path elsewhere."""
        entry = self._gallery.find(picture_id)
        picture = self._picture(entry) if entry else None
        if entry is None or picture is None or not self._is_inside(entry):
            raise NotFound(f"There is no picture {picture_id!r} (any more).")
        return picture

    def recover(self, job_id: str) -> None:
        """Settle what a dead process left of a job's pictures: saved ones are kept, unfinished ones vanish.

        Only for a job that nobody is running.
        """
        for entry in self._gallery.of_job(job_id):
            path = self._root(entry) / entry.path
            temporary = path.with_name(_temporary_name(entry))
            if entry.is_complete:
                temporary.unlink(missing_ok=True)
            elif self._was_published(entry, path, temporary):
                self._gallery.complete(entry.id)
                temporary.unlink(missing_ok=True)
            else:
                self._discard(entry, path, temporary)

    def recover_interrupted(self) -> None:
        """`recover` all jobs that nobody is running."""
        for job_id in self._gallery.interrupted():
            self.recover(job_id)

    def forget_unsaved(self, job_id: str) -> None:
        """Remove a job's pictures that were not to be kept, if there are any."""
        self._gallery.delete_unsaved_of(job_id)
        shutil.rmtree(self._unsaved_folder(job_id), ignore_errors=True)

    def sweep_unsaved(self) -> None:
        """Remove the unsaved pictures of jobs that are not known any more."""
        # The folders are read before the jobs: a job has its row before its folder, so no new one is taken for unknown.
        folders = list(self._paths.unsaved.iterdir()) if self._paths.unsaved.is_dir() else []
        kept = {self._unsaved_folder(job_id) for job_id in self._gallery.jobs()}
        for folder in folders:
            if folder not in kept:
                shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Close the index. Idempotent."""
        self._database.close()

    def _place(self, job: Job, drawn: Drawn, models: ModelsUsed, index: int, suffix: str) -> tuple[Path, Iterator[str]]:
        """The folder for a picture, and the names it may have there, best first.  suffix: what they end with."""
        if not job.save:
            folder = make_folder_inside(self._paths.unsaved, [self._unsaved_folder(job.id).name])
            return folder, (f"{number:05}-{_unsaved_name(drawn)}{suffix}" for number in count(max(index, 0)))
        if isinstance(drawn.request, ExtrasRequest):
            folder = make_folder_inside(self._paths.outputs, [EXTRAS_FOLDER])
            stem = safe_name(PurePath(drawn.request.pictures[0].name).stem)
            return folder, (f"{number:05}-{stem}{suffix}" if stem else f"{number:05}{suffix}" for number in count(next_number(folder)))
        settings = job.settings
        facts = _name_facts(job, drawn, models)
        mode = "img2img" if facts.job.init_images else "txt2img"
        uses_subfolders = settings.grid_save_to_dirs if index < 0 else settings.save_to_dirs
        subfolders = folder_parts(settings.directories_filename_pattern or "[prompt_words]", facts) if uses_subfolders else []
        if index < 0:
            folder = make_folder_inside(self._paths.outputs, [f"{mode}-grids", *subfolders])
            return folder, (f"{GRID_NAME}-{number:04}{suffix}" for number in count(next_number(folder, GRID_NAME)))
        folder = make_folder_inside(self._paths.outputs, [f"{mode}-images", *subfolders])
        pattern = settings.samples_filename_pattern or ("[seed]" if settings.save_to_dirs else "[seed]-[prompt_spaces]")
        return folder, (f"{file_stem(number, pattern, facts)}{suffix}" for number in count(next_number(folder)))

    def _write(self, entry: Entry, data: bytes, folder: Path, names: Iterator[str]) -> Path:
        root = self._root(entry)
        free = (folder / name for name in names)
        candidates = (path.relative_to(root).as_posix() for path in free if not os.path.lexists(path))
        temporary = folder / _temporary_name(entry)
        path = root / self._gallery.claim_name(entry, candidates)
        try:
            _write_durably(temporary, data)
            while not _publish(temporary, path):
                path = root / self._gallery.claim_name(entry, candidates)
        except OSError:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            self._gallery.delete(entry.id)
            raise
        _sync_folder(folder)
        self._gallery.complete(entry.id)
        # Last: until the row says so, this second link is the proof that the file of that name is this picture.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        return path

    def _discard(self, entry: Entry, path: Path, temporary: Path) -> None:
        """Undo an unfinished saving. The row goes last: whoever dies here leaves it to the next to do all again."""
        temporary.unlink(missing_ok=True)
        if path.is_file() and path.stat().st_size == 0:
            path.unlink()  # the name as `_publish` reserves it where there are no hard links
        self._gallery.delete(entry.id)

    def _was_published(self, entry: Entry, path: Path, temporary: Path) -> bool:
        if not path.is_file():
            return False
        if temporary.exists():
            return path.samefile(temporary)
        return hashlib.sha256(path.read_bytes()).hexdigest() == entry.sha256 and not self._gallery.has_other_at(entry)

    def _picture(self, entry: Entry) -> Picture | None:
        try:
            request = kind_of_request(entry.request).model_validate_json(entry.request)
        except (ValidationError, InvalidRequest):
            log.warning("Picture %r was stored by another version of this program; its file stays, but it cannot be shown.", entry.path)
            return None
        path = self._root(entry) / entry.path
        return Picture(entry.id, entry.job_id, entry.position, path, request, entry.infotext, entry.saved)

    def _is_inside(self, entry: Entry) -> bool:
        root = self._root(entry)
        path = root / entry.path
        return path.is_file() and path.resolve().is_relative_to(root.resolve())

    def _root(self, entry: Entry) -> Path:
        return self._paths.outputs if entry.saved else self._paths.unsaved

    def _unsaved_folder(self, job_id: str) -> Path:
        return self._paths.unsaved / hashlib.sha256(job_id.encode()).hexdigest()[:32]


def _infotext(job: Job, drawn: Drawn, models: ModelsUsed) -> str:
    """What a picture says of itself; of one that was only worked on, what was done."""
    if isinstance(drawn.request, ExtrasRequest):
        return drawn.request.describe(0)
    return write_infotext(
        drawn.request,
        job.settings,
        model_name=models.model_name,
        model_hash=models.model_hash,
        vae_name=models.vae_name,
        vae_hash=models.vae_hash,
        used=drawn.used,
        version=PROGRAM_VERSION,
    )


def _file(job: Job, drawn: Drawn, models: ModelsUsed, infotext: str, index: int) -> tuple[bytes, str]:
    """A picture file with its texts, and the suffix of what it is.

    One that was only worked on keeps how it was made, and says what was done beside that, as in A1111; where a format has but
    one place for text, behind it.
    """
    settings = job.settings
    if index >= NOT_SHOWN:
        wanted = "png"  # only to go on from: nothing may be lost
    else:
        wanted = settings.grid_format if index < 0 else settings.samples_format
    record = ""
    if isinstance(drawn.request, ExtrasRequest):
        source = drawn.request.pictures[0].infotext
        if settings.enable_pnginfo and wanted == "png":
            texts = {INFOTEXT_KEY: source, POSTPROCESSING_KEY: infotext}
            return encode_png(drawn.image, {key: storable(text) for key, text in texts.items() if text}), ".png"
        infotext = ", ".join(filter(None, (source, infotext)))
    elif settings.enable_pnginfo:
        record = _record(job, drawn.request, models, infotext)
    told = infotext if settings.enable_pnginfo else ""
    quality, lossless = settings.jpeg_quality, settings.webp_lossless
    encoded = encode_picture(drawn.image, wanted, infotext=told, record=record, quality=quality, lossless=lossless)
    return encoded.data, encoded.suffix


def _unsaved_name(drawn: Drawn) -> str:
    return "extras" if isinstance(drawn.request, ExtrasRequest) else str(drawn.request.seed)


def _record(job: Job, request: GenerationRequest, models: ModelsUsed, infotext: str) -> str:
    named = [NamedModel("checkpoint", models.model_name, models.model_hash or "")]
    if models.vae_name:
        named.append(NamedModel("vae", models.vae_name, models.vae_hash or ""))
    named += [NamedModel(RECORD_KINDS[file.kind], file.name, file.hash or "") for file in models.networks]
    settings = settings_of_picture(job.settings)
    return write_record(
        request, settings, named, infotext=infotext, version=PROGRAM_VERSION, device=models.device,
        extension_settings=models.extension_settings,
    )  # fmt: skip


def _name_facts(job: Job, drawn: Drawn, models: ModelsUsed) -> NameFacts:
    assert isinstance(job.request, GenerationRequest)
    assert isinstance(drawn.request, GenerationRequest)
    return NameFacts(
        job=job.request,
        picture=drawn.request,
        index=drawn.index,
        model_name=models.model_name,
        model_hash=models.model_hash,
        vae_name=models.vae_name,
        started=datetime.fromtimestamp(job.started_at or job.created_at).astimezone(),
        now=datetime.now().astimezone(),
    )


def _temporary_name(entry: Entry) -> str:
    return f".{entry.id}.part"


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make a new name survive a power cut, where the system can do that: not on Windows, nor on some network folders."""
    if hasattr(os, "O_DIRECTORY"):
        with suppress(OSError):
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

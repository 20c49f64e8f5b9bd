"""Pictures that jobs start from, kept by the hash of their content while a job may need them."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from webui.core.errors import InvalidRequest, NotFound
from webui.core.extras import ExtrasRequest, JobRequest
from webui.core.files import write_atomically
from webui.core.images import decode_image, encode_png
from webui.core.model_jobs import ModelRequest

SECONDS_KEPT = 24 * 3600
_HASH = re.compile("[0-9a-f]{64}")


class InputPictures:
    """A folder of pictures. The same picture is stored once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, image: Image.Image) -> str:
        """Store a decoded picture, transparency too; the hash by which requests name it."""
        if image.mode.startswith("I"):  # 16 bits of grey, which Pillow would cut off at 255
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        has_transparency = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
        data = encode_png(image.convert("RGBA" if has_transparency else "L" if image.mode in ("1", "L") else "RGB"), {})
        name = hashlib.sha256(data).hexdigest()
        try:
            os.utime(self._path(name))  # as new, for the sweep
        except FileNotFoundError:
            write_atomically(self._path(name), data)
        return name

    def read(self, name: str) -> bytes:
        """The PNG of a stored picture.  Raises NotFound for whatever names none, or one that is not kept any more."""
        if not _HASH.fullmatch(name) or self._path(name).is_symlink():
            raise NotFound(f"{name[:80]!r} names no stored picture.")
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError:
            raise NotFound(f"The picture {name[:12]}... is not kept any more. Give it again.") from None

    def files_of(self, request: JobRequest) -> dict[str, Path]:
        """The files of a request's pictures.  Raises InvalidRequest for one that is not there (any more)."""
        if isinstance(request, ExtrasRequest):
            names = [picture.image for picture in request.pictures]
        elif isinstance(request, ModelRequest):
            names = []
        else:
            of_units = (name for _, unit in request.active_units for name in (unit.image, unit.mask))
            names = [name for name in (*request.init_images, request.mask, request.depth_map, *of_units) if name]
        for name in names:
            if not self._path(name).is_file():
                raise InvalidRequest(f"The picture {name[:12]}... that this job starts from is not kept any more. Give it again.")
        return {name: self._path(name) for name in names}

    def open(self, name: str) -> Image.Image:
        """A stored picture.  Raises InvalidRequest when it is not there (any more)."""
        try:
            return decode_image(self._path(name).read_bytes())
        except FileNotFoundError:
            raise InvalidRequest(f"The picture {name[:12]}... is not kept any more. Give it again.") from None

    def sweep(self, is_needed: Callable[[str], bool]) -> None:
        """Remove what no job needs and nobody has just stored."""
        oldest = time.time() - SECONDS_KEPT
        for path in self._folder.glob("*.png"):
            if _HASH.fullmatch(path.stem) and _changed_at(path) < oldest and not is_needed(path.stem):
                path.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        if not _HASH.fullmatch(name):
            raise InvalidRequest(f"{name[:80]!r} is no hash of a picture.")
        return self._folder / f"{name}.png"


def _changed_at(path: Path) -> float:
    """Seconds since the epoch; now, for a file that another program has just removed."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return time.time()

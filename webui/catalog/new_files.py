"""Names of model files that are made here: cleaned as A1111 cleans them, and never another file's unasked."""

from __future__ import annotations

from pathlib import Path

from webui.core.errors import InvalidRequest

MAX_NAME = 128
_SIGNS = "._- "


def name_new_file(folder: Path, name: str, suffix: str, *, overwrite: bool, also: tuple[str, ...] = ()) -> Path:
    """The file to write: of the name, letters, digits and ". _ - " are kept, as in A1111.

    also: other suffixes under which a file of that name would mean the same.   Raises InvalidRequest.
    """
    clean = "".join(sign for sign in name if sign.isalnum() or sign in _SIGNS).strip(" .")
    if not clean or len(clean.encode()) > MAX_NAME:
        raise InvalidRequest(f"name: got {name[:80]!r}; give letters and digits, of at most {MAX_NAME} bytes.")
    file = folder / f"{clean}{suffix}"
    if not overwrite and any((folder / f"{clean}{one}").exists() for one in (suffix, *also)):
        raise taken(file)
    return file


def taken(file: Path) -> InvalidRequest:
    """The error for a name that another file has."""
    return InvalidRequest(f"file {file.name} already exists. Choose another name, or send overwrite_old.")

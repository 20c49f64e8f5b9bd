"""What an extension says of itself: extension.toml, A1111's metadata.ini, or no more than its folder. Reads, and runs nothing."""

from __future__ import annotations

import configparser
import os
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

from webui.core.errors import InvalidRequest, UnknownName

MANIFEST = "extension.toml"
A1111_MANIFEST = "metadata.ini"
REQUIREMENTS = "requirements.txt"
# In an extension's folder: the packages installed for it, on the import path of that extension alone.
SITE_PACKAGES = ".site-packages"

MAX_BYTES = 64 * 1024
MAX_TEXT = 2000
MAX_LIST = 200
# The keys of extension.toml whose values are lists; the other ones are texts.
LISTS = ("tags", "requires", "hooks")
# A folder, so that an extension is found on every system by the same name, and never among the hidden ones.
FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}(?<![.])")
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


@dataclass(frozen=True)
class Manifest:
    """One extension in its own words; a text that it does not say is empty.

    name: what it is called, by default as its folder.   version: as PEP 440 has it.   requirements: packages, as PEP 508 has them,
    from the manifest and from requirements.txt.   hooks: names of the hooks that it says it implements.
    min_version, max_version: the oldest and the newest version of this program that it works with.
    """

    name: str
    version: str = ""
    description: str = ""
    author: str = ""
    homepage: str = ""
    tags: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    hooks: tuple[str, ...] = ()
    min_version: str = ""
    max_version: str = ""


def read_manifest(folder: Path, *, called: str = "") -> Manifest:
    """Read what lies in an extension's folder.  called: its name, if it does not say one; by default the folder's.

    Raises InvalidRequest in a sentence on what is damaged, too large, or not allowed."""
    if (text := _read(folder / MANIFEST)) is not None:
        manifest = _from_toml(text, called or folder.name)
    elif (text := _read(folder / A1111_MANIFEST)) is not None:
        manifest = Manifest(name=_from_ini(text) or called or folder.name)
    else:
        manifest = Manifest(name=called or folder.name)
    listed = _read(folder / REQUIREMENTS)
    more = () if listed is None else tuple(_requirement_lines(listed))
    together = tuple(dict.fromkeys((*manifest.requirements, *more)))
    if len(together) > MAX_LIST:
        raise InvalidRequest(f"The extension requires {len(together)} packages; at most {MAX_LIST} are installed for one.")
    return replace(manifest, requirements=tuple(checked_requirement(each) for each in together))


def check_folder_name(name: str) -> str:
    """A name that a folder under extensions/ may have.  Raises InvalidRequest."""
    if FOLDER_NAME.fullmatch(name) and not RESERVED.fullmatch(name):
        return name
    raise InvalidRequest(
        f"{name[:80]!r} cannot be the name of an extension; it takes up to 64 of A-Z a-z 0-9 . _ - and begins with a letter or digit."
    )


def checked_requirement(text: str) -> str:
    """A requirement as pip takes it, if it names a package of an index, by name and version alone.

    Raises InvalidRequest on addresses, files and pip's options: with them an extension could install from anywhere.
    """
    shown = repr(text[:120])
    if text.startswith("-"):
        raise InvalidRequest(f"The requirement {shown} is an option for pip; an extension may name packages and versions only.")
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        raise InvalidRequest(
            f"The requirement {shown} cannot be read; write a package and its versions, like 'scikit-image>=0.22'."
        ) from None
    if requirement.url:
        raise InvalidRequest(f"The requirement {shown} leads to an address; an extension may name packages of the index only.")
    return str(requirement)


def check_program_version(manifest: Manifest, program: str) -> None:
    """Raises InvalidRequest when an extension says that it does not work with this version of the program."""
    here = Version(program)
    if manifest.min_version and here < Version(manifest.min_version):
        raise InvalidRequest(f"{manifest.name} needs version {manifest.min_version} of this program or newer; this is {program}.")
    if manifest.max_version and here > Version(manifest.max_version):
        raise InvalidRequest(f"{manifest.name} works up to version {manifest.max_version} of this program; this is {program}.")


def _read(file: Path) -> str | None:
    """The text of a small plain file; None when there is no such file."""
    try:
        # Opened once and judged as opened; no link is followed, no pipe waited for.
        handle = os.open(file, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        return None
    except OSError:
        raise InvalidRequest(f"{file.name} of the extension cannot be opened; it has to be a plain file.") from None
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise InvalidRequest(f"{file.name} of the extension is no plain file.")
        with os.fdopen(handle, "rb", closefd=False) as opened:
            data = opened.read(MAX_BYTES + 1)
    finally:
        os.close(handle)
    if len(data) > MAX_BYTES:
        raise InvalidRequest(f"{file.name} of the extension is larger than {MAX_BYTES // 1024} KiB.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidRequest(f"{file.name} of the extension is not UTF-8 text.") from None


def _from_toml(text: str, folder: str) -> Manifest:
    try:
        values: Mapping[str, Any] = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidRequest(f"{MANIFEST} cannot be read: {str(error)[:200]}") from None
    known = tuple("requires" if each.name == "requirements" else each.name for each in fields(Manifest))
    for key in values:
        if key not in known:
            raise UnknownName(f"key of {MANIFEST}", key[:80], known)
    read: dict[str, Any] = {key: _texts(key, value) if key in LISTS else _text(key, value) for key, value in values.items()}
    read["requirements"] = read.pop("requires", ())
    for key in ("version", "min_version", "max_version"):
        _check_version(key, str(read.get(key, "")))
    return Manifest(**{"name": folder, **read})


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidRequest(f"{key} of the extension is {str(value)[:80]!r}; it has to be a text in quotes.")
    if len(value) > MAX_TEXT or not all(sign.isprintable() or sign == "\n" for sign in value):
        raise InvalidRequest(f"{key} of the extension has to be at most {MAX_TEXT} printable characters.")
    text = " ".join(value.split())
    if key == "name" and not text:
        raise InvalidRequest(f"{MANIFEST}: the name is empty; give one, or leave the line out.")
    if key == "homepage" and text and not text.startswith("https://"):
        raise InvalidRequest(f"{MANIFEST}: homepage is {text[:80]!r}; it has to begin with https://.")
    return text


def _texts(key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MAX_LIST:
        raise InvalidRequest(f'{MANIFEST}: {key} has to be a list of at most {MAX_LIST} texts, like ["one", "two"].')
    return tuple(_text(key, each) for each in value)


def _check_version(key: str, value: str) -> None:
    try:
        Version(value or "0")
    except InvalidVersion:
        raise InvalidRequest(f"{MANIFEST}: {key} is {value[:80]!r}; write a version like '1.2.0'.") from None


def _from_ini(text: str) -> str:
    """The name that metadata.ini gives; A1111 reads of it besides only the order of scripts and callbacks."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise InvalidRequest(f"{A1111_MANIFEST} cannot be read: {error.message.splitlines()[0][:200]}") from None
    name = parser.get("Extension", "Name", fallback="").strip()
    return _text("name", name) if name else ""


def _requirement_lines(text: str) -> Iterator[str]:
    for line in text.splitlines():
        # As pip has it: a # begins a comment at the start of a line or behind a space.
        requirement = re.sub(r"(^|\s)#.*", "", line).strip()
        if requirement:
            yield requirement

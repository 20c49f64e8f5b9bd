"""From a source to a folder of plain files, and what is known of where they came from. Nothing of it has been run."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from webui.core.errors import InvalidRequest
from webui.core.web import Web
from webui.plugins.install import packages
from webui.plugins.install.git import Git
from webui.plugins.install.processes import Limits
from webui.plugins.install.reading import ENTRY
from webui.plugins.install.records import files_in
from webui.plugins.install.sources import FolderSource, GitSource, PackageSource, Source, ZipSource
from webui.plugins.install.unpacking import Unpacked, copy_folder, measure, unpack_zip
from webui.plugins.manifest import MANIFEST, REQUIREMENTS

MAX_METADATA = 256 * 1024


@dataclass(frozen=True)
class Fetch:
    """What was fetched.  commit, date, branch: of git.   version: of a package.   remarks: for whoever agrees to it."""

    unpacked: Unpacked
    commit: str = ""
    date: int = 0
    branch: str = ""
    version: str = ""
    remarks: tuple[str, ...] = ()


def fetch(source: Source, target: Path, web: Web, limits: Limits) -> Fetch:
    """Write the files of a source to a folder that is not there yet.  limits.folder: for what is needed besides.  Raises InvalidRequest."""
    if isinstance(source, GitSource):
        place = limits.folder / "git"
        place.mkdir()
        got = Git(source, web, replace(limits, folder=place)).fetch(target)
        missing = (f"Its submodules are not fetched: {', '.join(got.submodules[:5])}.",) if got.submodules else ()
        return Fetch(got.unpacked, got.commit, got.date, got.branch, remarks=missing)
    if isinstance(source, FolderSource):
        return Fetch(copy_folder(source.path, target))
    if isinstance(source, ZipSource):
        return Fetch(unpack_zip(source.path, target))
    return _fetch_package(source, target, limits)


def _fetch_package(source: PackageSource, target: Path, limits: Limits) -> Fetch:
    """A wheel in which one folder is the extension; what the wheel requires is added to its requirements.txt."""
    wheel = packages.download_wheel(source.requirement, limits)
    try:
        with zipfile.ZipFile(wheel) as opened:
            names = opened.namelist()
            metadata = next((name for name in names if name.endswith(".dist-info/METADATA") and name.count("/") == 1), "")
            if not metadata or opened.getinfo(metadata).file_size > MAX_METADATA:
                raise InvalidRequest(f"{wheel.name} says nothing of itself, or too much; it is no wheel.")
            required = packages.required_by(opened.read(metadata).decode("utf-8", "replace"))
    except zipfile.BadZipFile:
        raise InvalidRequest(f"{wheel.name} cannot be read; it is no wheel.") from None
    tops = sorted({PurePosixPath(name).parts[0] for name in names if name.count("/") == 1 and name.endswith((f"/{ENTRY}", f"/{MANIFEST}"))})
    if len(tops) != 1:
        found = f"{len(tops)} folders" if tops else "no folder"
        raise InvalidRequest(f"{wheel.name} is no extension: {found} in it with an {ENTRY}, where there has to be one.")
    unpacked = unpack_zip(wheel, target, below=f"{tops[0]}/")
    if required:
        with (target / REQUIREMENTS).open("a", encoding="utf-8") as opened_list:
            opened_list.write("\n" + "".join(f"{one}\n" for one in required))
        unpacked = replace(unpacked, files=measure(target, files_in(target)))
    return Fetch(unpacked, version=wheel.name.split("-")[1])

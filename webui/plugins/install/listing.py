"""What is in extensions/: read from the disk each time it is asked for, and compared with what was there when the program began."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from webui.core.errors import InvalidRequest
from webui.core.extensions import InstalledExtension, LoadedExtension
from webui.plugins.install.records import Record, read_clone, read_record
from webui.plugins.manifest import Manifest, read_manifest

REMOVED = "It was removed, and runs until the program is started again."


@dataclass(frozen=True)
class AtStart:
    """One extension when the program began.  digest: of what was installed then."""

    enabled: bool
    digest: str


Noted = Mapping[str, AtStart]


def folders_in(extensions: Path) -> tuple[Path, ...]:
    """The folders that the host takes for extensions, by name."""
    if not extensions.is_dir():
        return ()
    return tuple(sorted(path for path in extensions.iterdir() if path.is_dir() and path.name[0] not in "._"))


def note(extensions: Path, disabled: Collection[str]) -> Noted:
    """What is there now, to be compared with later."""
    return {one.name: AtStart(one.name not in disabled, _digest(one)) for one in folders_in(extensions)}


def describe(
    extensions: Path, disabled: Collection[str], noted: Noted, loaded: Mapping[str, LoadedExtension], newer: Mapping[str, str]
) -> tuple[InstalledExtension, ...]:
    """Every extension, by folder; those that were removed and still run come last.  newer: commits or versions, by folder."""
    folders = folders_in(extensions)
    names = {folder.name for folder in folders}
    gone = [name for name, one in loaded.items() if one.enabled and name not in names]
    removed = (
        InstalledExtension(name, name, enabled=False, running=True, error=REMOVED, restart_needed=True, removed=True) for name in gone
    )
    return (*(_describe(one, disabled, noted.get(one.name), loaded.get(one.name), newer) for one in folders), *removed)


def _describe(
    folder: Path, disabled: Collection[str], at_start: AtStart | None, loaded: LoadedExtension | None, newer: Mapping[str, str]
) -> InstalledExtension:
    try:
        manifest, error = read_manifest(folder), ""
    except InvalidRequest as wrong:
        manifest, error = Manifest(name=folder.name), str(wrong)
    enabled = folder.name not in disabled
    installed = read_record(folder)
    known = installed or read_clone(folder) or Record(kind="", source="")
    was_enabled = at_start is not None and at_start.enabled
    stale = at_start is not None and at_start.digest != (installed.digest if installed else "")
    return InstalledExtension(
        folder=folder.name,
        name=manifest.name,
        enabled=enabled,
        version=manifest.version or known.version,
        description=manifest.description,
        author=manifest.author,
        homepage=manifest.homepage,
        tags=manifest.tags,
        running=loaded is not None and loaded.enabled,
        error=error or (loaded.error or "" if loaded and enabled and was_enabled else ""),
        restart_needed=enabled != was_enabled or (enabled and stale),
        kind=known.kind,
        source=known.source,
        branch=known.branch or known.ref,
        commit=known.commit,
        commit_date=known.commit_date,
        updatable=installed is not None and installed.kind in ("git", "pypi"),
        update=newer.get(folder.name, ""),
    )


def _digest(folder: Path) -> str:
    record = read_record(folder)
    return record.digest if record else ""

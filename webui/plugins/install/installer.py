"""The owner of extensions/ as a folder: what is in it, what goes in, and what comes out. It runs nothing of what is in it.

Installing takes two steps. `prepare` fetches and reads, and gives a consent sheet; `confirm` with that sheet's digest installs what
the sheet shows, and nothing else. What runs changes at the next start of the program.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from webui import __version__
from webui.core.errors import Forbidden, InvalidRequest, NotFound
from webui.core.extensions import ConsentSheet, IndexEntry, InstalledExtension, LoadedExtension
from webui.core.parameters import parameters_of
from webui.core.settings import Settings
from webui.core.settings_store import SettingsStore
from webui.core.web import Web
from webui.plugins.install import packages
from webui.plugins.install.fetching import Fetch, fetch
from webui.plugins.install.git import Git
from webui.plugins.install.index import read_index
from webui.plugins.install.listing import Noted, describe, folders_in, note
from webui.plugins.install.processes import Limits
from webui.plugins.install.reading import hooks_in, is_extension, remarks_on
from webui.plugins.install.records import Record, files_in, read_record, write_record
from webui.plugins.install.sources import GitSource, PackageSource, Source, ZipSource, folder_for, read_source
from webui.plugins.install.staging import READY, Staging
from webui.plugins.install.unpacking import measure
from webui.plugins.manifest import SITE_PACKAGES, Manifest, check_folder_name, check_program_version, read_manifest

SECONDS_TO_FETCH = 600.0
MAX_PREPARED = 4
# The heading of the settings that say what runs.
SECTION = "Extensions"

NOT_ALLOWED = (
    "Extensions are programs, so nobody may install or change them while this server listens beyond its own machine. "
    "Do it with python launch.py extensions, or start the server with --enable-insecure-extension-access."
)


@dataclass(frozen=True)
class Prepared:
    """Something ready to take its place."""

    sheet: ConsentSheet
    place: Path
    record: Record

    @property
    def ready(self) -> Path:
        """The folder that would become the extension."""
        return self.place / READY


class Installer:
    """Lists, installs, updates, enables, disables and removes. Safe to call from any thread.

    extensions: the folder, in the data folder.   loaded: what the host says of those it knows.   web: which hosts may be asked.
    allowed: whether anything may be changed; otherwise all that changes raises Forbidden.
    """

    def __init__(
        self,
        extensions: Path,
        settings: SettingsStore,
        *,
        loaded: Callable[[], Sequence[LoadedExtension]] = tuple,
        web: Web | None = None,
        allowed: bool = True,
    ) -> None:
        self.allowed = allowed
        self._extensions = extensions
        self._settings = settings
        self._loaded = loaded
        self._web = web or Web()
        self._staging = Staging(extensions)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._noted: Noted | None = None
        self._newer: dict[str, str] = {}
        self._prepared: OrderedDict[str, Prepared] = OrderedDict()

    def begin(self) -> None:
        """Put right what a crash has left, and remember what is there, before the host loads it."""
        self._staging.sweep()
        self._noted = note(self._extensions, self._disabled())

    def close(self) -> None:
        """End what is being fetched, and forget what was prepared."""
        self._stop.set()
        with self._lock:
            self._prepared.clear()
            self._staging.close()

    def installed(self) -> tuple[InstalledExtension, ...]:
        """Every extension, disabled and broken ones too, by folder; also those that were removed and still run."""
        disabled, loaded = self._disabled(), {one.name: one for one in self._loaded()}
        # Before the host has loaded them, what is there is what will run.
        noted = note(self._extensions, disabled) if self._noted is None else self._noted
        return describe(self._extensions, disabled, noted, loaded, self._newer)

    def check_settings(self, changes: Mapping[str, Any]) -> None:
        """Raises Forbidden when a change of settings is one of extensions, and that is not allowed. Sent as they are, settings pass."""
        current = self._settings.snapshot()
        for name, declared in parameters_of(Settings).items():
            if declared.section == SECTION and name in changes and current.changed({name: changes[name]}) != current:
                self._check_allowed()

    def prepare(self, text: str, *, ref: str = "", folder: str = "", replaces: bool = False, local: bool = False) -> ConsentSheet:
        """Fetch an extension and read it, without running any of it.

        text: as `read_source` takes it.   ref: a branch, a tag or a whole commit.   folder: what it is to be called.
        replaces: it may take the place of the one that is called so.   local: paths of this machine are taken too.
        Raises Forbidden, InvalidRequest.
        """
        self._check_allowed()
        source = read_source(text, self._web, ref=ref, local=local)
        return self._prepare(source, folder_for(source, folder), replaces=replaces)

    def prepare_zip(self, file: Path, name: str, *, folder: str = "", replaces: bool = False) -> ConsentSheet:
        """The same for a zip file.  name: what it was called where it comes from."""
        self._check_allowed()
        source = ZipSource(file, name)
        return self._prepare(source, folder_for(source, folder), replaces=replaces)

    def prepare_update(self, folder: str) -> ConsentSheet:
        """The same for what is newest where an extension came from.  Raises NotFound, InvalidRequest also when there is nothing newer."""
        self._check_allowed()
        self._existing(folder)
        source = _origin(folder, read_record(self._extensions / folder))
        newest = self._newest(folder, source)
        if not newest:
            raise InvalidRequest(f"{folder} is up to date.")
        return self._prepare(source, folder, replaces=True)

    def confirm(self, digest: str) -> InstalledExtension:
        """Install what a consent sheet shows; it runs from the next start on.  digest: the sheet's.

        Raises Forbidden, InvalidRequest; then what was there before is there still.
        """
        self._check_allowed()
        with self._lock:
            prepared = self._prepared.pop(digest, None)
        if prepared is None:
            raise InvalidRequest("Nothing like that is ready to be installed; it waited too long, or was installed. Prepare it again.")
        sheet = prepared.sheet
        try:
            if measure(prepared.ready, files_in(prepared.ready)) != sheet.files:
                raise InvalidRequest("The files were changed after they were shown. Prepare the installation again.")
            packages.install(sheet.packages, prepared.ready / SITE_PACKAGES, self._limits(prepared.place))
            write_record(prepared.ready, replace(prepared.record, digest=digest))
            with self._lock, self._staging.changing():
                self._check_free(sheet.folder, sheet.name, replaces=bool(sheet.replaces))
                self._keep_added_files(sheet.folder, prepared.ready)
                self._staging.put(prepared.place, sheet.folder)
                self._newer.pop(sheet.folder, None)
        finally:
            self._staging.discard(prepared.place)
        return self._one(sheet.folder)

    def cancel(self, digest: str) -> None:
        """Forget what was prepared."""
        with self._lock:
            prepared = self._prepared.pop(digest, None)
        if prepared:
            self._staging.discard(prepared.place)

    def enable(self, folder: str, *, enabled: bool = True) -> InstalledExtension:
        """Have an extension loaded from the next start on, or not.  Raises Forbidden, NotFound."""
        self._check_allowed()
        self._existing(folder)
        self._set_disabled(folder, disabled=not enabled)
        return self._one(folder)

    def remove(self, folder: str) -> Path:
        """Move an extension into the trash, from where it comes back by hand; where it is then.  Raises Forbidden, NotFound."""
        self._check_allowed()
        self._existing(folder)
        with self._lock, self._staging.changing():
            where = self._staging.throw_away(folder)
            self._newer.pop(folder, None)
        self._set_disabled(folder, disabled=False)
        return where

    def check_updates(self) -> tuple[InstalledExtension, ...]:
        """Ask wherever extensions came from whether there is something newer, and list them all.

        One whose origin does not answer is listed as before.  Raises Forbidden.
        """
        self._check_allowed()
        for folder in folders_in(self._extensions):
            try:
                newest = self._newest(folder.name, _origin(folder.name, read_record(folder)))
            except InvalidRequest:
                continue
            self._newer.pop(folder.name, None)
            if newest:
                self._newer[folder.name] = newest
        return self.installed()

    def available(self) -> tuple[IndexEntry, ...]:
        """What the index of the settings offers, read anew.  Raises InvalidRequest."""
        return read_index(self._settings.snapshot().extensions_index, self._extensions.parent, self._web, self.installed())

    def _prepare(self, source: Source, folder: str, *, replaces: bool) -> ConsentSheet:
        self._check_free(folder, "", replaces=replaces)
        place = self._staging.new_place()
        try:
            prepared = self._read(source, place, folder, replaces=replaces)
        except BaseException:
            self._staging.discard(place)
            raise
        with self._lock:
            self._prepared[prepared.sheet.digest] = prepared
            old = [self._prepared.popitem(last=False)[1] for _ in range(len(self._prepared) - MAX_PREPARED)]
        for one in old:
            self._staging.discard(one.place)
        return prepared.sheet

    def _read(self, source: Source, place: Path, folder: str, *, replaces: bool) -> Prepared:
        limits, ready = self._limits(place), place / READY
        got = fetch(source, ready, self._web, limits)
        if not is_extension(ready):
            raise InvalidRequest(f"There is no extension in {source.text}: no extension.py, javascript/, style.css or localizations/.")
        manifest = read_manifest(ready, called=folder)
        check_program_version(manifest, __version__)
        self._check_free(folder, manifest.name, replaces=replaces)
        sheet = _sheet(source, folder, manifest, got, ready)
        old = self._extensions / folder
        if replaces and old.is_dir():
            record = read_record(old)
            sheet = replace(sheet, replaces=_called(record), remarks=(*sheet.remarks, *_changed_since(old, record)))
        sheet = replace(sheet, packages=packages.resolve(manifest.requirements, limits))
        record = Record(
            kind=source.kind, source=source.text, ref=source.ref, branch=got.branch, local=isinstance(source, GitSource) and source.local,
            commit=got.commit, commit_date=got.date, version=got.version or manifest.version,
            files={file.path: file.sha256 for file in sheet.files},
        )  # fmt: skip
        return Prepared(sheet, place, record)

    def _newest(self, folder: str, source: GitSource | PackageSource) -> str:
        """The commit or version that there is now, or "" when it is the installed one.  Raises InvalidRequest."""
        record = read_record(self._extensions / folder)
        place = self._staging.new_place()
        try:
            if isinstance(source, GitSource):
                newest, here = Git(source, self._web, self._limits(place)).find().commit, record.commit if record else ""
            else:
                newest, here = packages.newest_version(source.requirement, self._limits(place)), record.version if record else ""
        finally:
            self._staging.discard(place)
        return "" if newest == here else newest

    def _check_allowed(self) -> None:
        if not self.allowed:
            raise Forbidden(NOT_ALLOWED)

    def _check_free(self, folder: str, name: str, *, replaces: bool) -> None:
        """Raises InvalidRequest when another extension has that folder or name.  name: "" when it is not known yet."""
        for one in folders_in(self._extensions):
            if one.name == folder and replaces:
                if read_record(one) is None:
                    raise InvalidRequest(f"extensions/{folder} was put there by hand; move it away, or install under another name.")
                continue
            if one.name.casefold() == folder.casefold():
                raise InvalidRequest(f"There is an extension {one.name} already. Update or remove it, or install under another name.")
            if name and name.casefold() in (one.name.casefold(), _name_of(one).casefold()):
                raise InvalidRequest(f"The extension in extensions/{one.name} is called {name!r} already. Remove it first.")

    def _keep_added_files(self, folder: str, ready: Path) -> None:
        """What was added to an extension since it was installed (presets, models, ...) goes on with the new one."""
        old = self._extensions / folder
        record = read_record(old)
        if record is None:
            return
        for file in files_in(old):
            path = file.relative_to(old)
            if path.as_posix() not in record.files and not (ready / path).exists():
                try:
                    (ready / path).parent.mkdir(parents=True, exist_ok=True)
                except OSError:
                    raise InvalidRequest(f"extensions/{folder}/{path.as_posix()} is in the way of the new files. Move it away.") from None
                _link_or_copy(file, ready / path)

    def _existing(self, folder: str) -> None:
        if check_folder_name(folder) not in (one.name for one in folders_in(self._extensions)):
            raise NotFound(f"There is no extension {folder!r}.")

    def _one(self, folder: str) -> InstalledExtension:
        return next(one for one in self.installed() if one.folder == folder)

    def _disabled(self) -> tuple[str, ...]:
        return self._settings.snapshot().disabled_extensions

    def _set_disabled(self, folder: str, *, disabled: bool) -> None:
        with self._lock:
            others = [name for name in self._disabled() if name != folder]
            wanted = (*others, folder) if disabled else tuple(others)
            if wanted != self._disabled():
                self._settings.change({"disabled_extensions": wanted})

    def _limits(self, place: Path) -> Limits:
        return Limits(seconds=SECONDS_TO_FETCH, stop=self._stop, folder=place)


def _link_or_copy(file: Path, target: Path) -> None:
    try:
        os.link(file, target)
    except OSError:  # a file system without hard links
        shutil.copy2(file, target)


def _sheet(source: Source, folder: str, manifest: Manifest, got: Fetch, ready: Path) -> ConsentSheet:
    files = got.unpacked.files
    hooks, modules, unreadable = hooks_in(ready, files)
    remarks = [*got.remarks, *remarks_on(ready, files, modules, unreadable)]
    if undeclared := [hook for hook in hooks if manifest.hooks and hook not in manifest.hooks and "." not in hook]:
        remarks.append(f"Its code has hooks that its manifest does not name: {', '.join(undeclared)}.")
    return ConsentSheet(
        kind=source.kind, source=source.text, folder=folder, name=manifest.name, version=manifest.version or got.version,
        description=manifest.description, author=manifest.author, homepage=manifest.homepage, ref=source.ref or got.branch,
        commit=got.commit, commit_date=got.date, files=files, left_out=got.unpacked.left_out, requirements=manifest.requirements,
        hooks=hooks, remarks=tuple(remarks),
    )  # fmt: skip


def _origin(folder: str, record: Record | None) -> GitSource | PackageSource:
    """Where newer ones of an extension are.  Raises InvalidRequest when there is no such place."""
    if record is not None and record.kind == "git":
        return GitSource(record.source, record.ref, local=record.local)
    if record is not None and record.kind == "pypi":
        return PackageSource(record.source.removeprefix("pypi:") + (f"=={record.ref}" if record.ref else ""))
    how = "from a file or folder" if record else "by hand"
    raise InvalidRequest(f"{folder} was put here {how}, so nobody can be asked for a newer one. Install the newer one in its place.")


def _called(record: Record | None) -> str:
    return (record.version or record.commit[:8] or record.kind) if record else ""


def _changed_since(folder: Path, record: Record | None) -> tuple[str, ...]:
    """A remark on files that were changed here and would be replaced."""
    now = {file.path: file.sha256 for file in measure(folder, files_in(folder))}
    changed = [path for path, sha256 in (record.files if record else {}).items() if now.get(path, sha256) != sha256]
    return (f"Changed here since it was installed, and to be replaced: {', '.join(changed[:10])}.",) if changed else ()


def _name_of(folder: Path) -> str:
    try:
        return read_manifest(folder).name
    except InvalidRequest:
        return folder.name

"""Extensions over HTTP: listed, installed in two steps, updated, enabled, disabled and removed.

Whoever may use the API may do so only where the server listens to its own machine alone, or was started to allow it.
"""

from __future__ import annotations

import base64
import binascii
import tempfile
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI
from pydantic import BaseModel, Field

from webui.app import App
from webui.core.errors import InvalidRequest
from webui.core.extensions import ConsentSheet, IndexEntry, InstalledExtension, ResolvedPackage, SheetFile

EXTENSIONS = "/api/v1/extensions"


class InstallWish(BaseModel):
    """What to install.

    source: "https://host/path.git", with "@branch" behind it or not, or "pypi:name".   ref: a branch, a tag or a whole commit.
    zip: a zip file in base64, and then source is its name.   folder: what it is to be called.   replaces: it may take the place of the one
    that is called so.
    """

    source: Annotated[str, Field(max_length=4096)]
    ref: Annotated[str, Field(max_length=200)] = ""
    folder: Annotated[str, Field(max_length=64)] = ""
    zip: str | None = None
    replaces: bool = False


class Consent(BaseModel):
    """That what a sheet shows may be installed.  digest: the sheet's."""

    digest: Annotated[str, Field(max_length=64)]


class Sheet(BaseModel):
    """Everything that would be installed.  What its fields mean is said in docs/installing_extensions.md."""

    digest: str
    kind: str
    source: str
    folder: str
    name: str
    version: str
    description: str
    author: str
    homepage: str
    ref: str
    commit: str
    commit_date: int
    replaces: str
    size: int
    files: list[SheetFile]
    python_files: list[str]
    javascript_files: list[str]
    native_files: list[str]
    left_out: list[str]
    requirements: list[str]
    packages: list[ResolvedPackage]
    hooks: list[str]
    remarks: list[str]


class Installing:
    """The handlers. They are no coroutines, so each runs in a thread of its own, and no other client waits for git or pip."""

    def __init__(self, app: App) -> None:
        self._app = app

    def add_routes(self, server: FastAPI) -> None:
        """Put the handlers under their paths."""
        one = EXTENSIONS + "/{folder}"
        server.add_api_route(EXTENSIONS, self.installed, methods=["GET"], tags=["extensions"])
        server.add_api_route(f"{EXTENSIONS}/check", self.check, methods=["POST"], tags=["extensions"])
        server.add_api_route(f"{EXTENSIONS}/available", self.available, methods=["POST"], tags=["extensions"])
        server.add_api_route(f"{EXTENSIONS}/prepare", self.prepare, methods=["POST"], tags=["extensions"])
        server.add_api_route(f"{EXTENSIONS}/confirm", self.confirm, methods=["POST"], tags=["extensions"])
        server.add_api_route(f"{one}/update", self.update, methods=["POST"], tags=["extensions"])
        server.add_api_route(f"{one}/enable", self.enable, methods=["POST"], tags=["extensions"])
        server.add_api_route(f"{one}/disable", self.disable, methods=["POST"], tags=["extensions"])
        server.add_api_route(one, self.remove, methods=["DELETE"], tags=["extensions"])

    def installed(self) -> list[InstalledExtension]:
        """Every extension, disabled and broken ones too."""
        return list(self._app.installer.installed())

    def check(self) -> list[InstalledExtension]:
        """Ask where they came from whether there are newer ones, and list them all."""
        return list(self._app.installer.check_updates())

    def available(self) -> list[IndexEntry]:
        """What the index of the settings offers, read anew."""
        return list(self._app.installer.available())

    def prepare(self, wish: InstallWish) -> Sheet:
        """Fetch an extension and show what it is. None of it is run; nothing is installed before its digest is confirmed."""
        installer = self._app.installer
        if wish.zip is None:
            return _shown(installer.prepare(wish.source, ref=wish.ref, folder=wish.folder, replaces=wish.replaces))
        if wish.ref:
            raise InvalidRequest(f"A zip file has no branch {wish.ref[:80]!r}; leave ref out.")
        with tempfile.TemporaryDirectory(dir=self._app.paths.state) as folder:
            file = Path(folder, "upload.zip")
            file.write_bytes(_decoded(wish.zip))
            return _shown(installer.prepare_zip(file, wish.source, folder=wish.folder, replaces=wish.replaces))

    def confirm(self, consent: Consent) -> InstalledExtension:
        """Install what a sheet shows. It runs from the next start of the program on."""
        return self._app.installer.confirm(consent.digest)

    def update(self, folder: str) -> Sheet:
        """Fetch what is newest where an extension came from, and show it. Confirm it as an installation."""
        return _shown(self._app.installer.prepare_update(folder))

    def enable(self, folder: str) -> InstalledExtension:
        """Have an extension loaded from the next start of the program on."""
        return self._app.installer.enable(folder)

    def disable(self, folder: str) -> InstalledExtension:
        """Have an extension left out from the next start of the program on."""
        return self._app.installer.enable(folder, enabled=False)

    def remove(self, folder: str) -> dict[str, str]:
        """Move an extension into extensions/.trash; "where" says under which name."""
        return {"where": self._app.installer.remove(folder).relative_to(self._app.paths.data).as_posix()}


def _shown(sheet: ConsentSheet) -> Sheet:
    return Sheet.model_validate(sheet.shown(), from_attributes=True)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest("The zip file is no base64. Send it in base64, without a data: in front.") from None

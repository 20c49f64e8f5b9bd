"""Jobs that fetch a model file: what was asked made concrete, and the run, which needs no engine.

Nothing gets its name before it is known to be a model of the kind that was asked for. Names that a server suggests are not heeded.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import time
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from webui.catalog.catalog import Catalog
from webui.catalog.hashes import HashingStopped, sha256_of
from webui.catalog.model_kinds import ModelKind, model_kind
from webui.core.errors import InvalidRequest, ModelError
from webui.core.events import Cancelled, Failed, Finished, Progress, Remark
from webui.core.files import publish, sweep
from webui.core.model_jobs import DownloadRequest, read_model_request
from webui.core.settings import Settings
from webui.core.web import Line, Web
from webui.jobs.fetching import CutOff, Parts, Received, fetch
from webui.jobs.job import Job
from webui.jobs.model_names import check_free, check_name
from webui.jobs.run import Run, Surroundings

GIGABYTE = 10**9
MEGABYTE = 10**6
DIGITS = 16
SECONDS_A_PART_IS_KEPT = 14 * 24 * 3600.0
SECONDS_BETWEEN_NEWS = 0.2
_HUB_ID = re.compile(r"(?P<owner>[\w.-]+)/(?P<name>[\w.-]+)/(?P<file>[\w .()+=,&'-]+(?:/[\w .()+=,&'-]+)*)")


def settle_download(request: DownloadRequest, settings: Settings, catalog: Catalog, web: Web) -> DownloadRequest:
    """The same request with the URL and the name of the file to be.

    Raises InvalidRequest when downloads are turned off, for an address that is not allowed, and for a name that cannot be or is taken.
    """
    if not settings.model_download_enable:
        raise InvalidRequest("Downloads are turned off. Turn on model_download_enable in the settings, or put the file into models/.")
    url = _url(request.source.strip(), settings.model_download_hub)
    parts = web.check(url)
    _check_host(parts.hostname or "", settings.model_download_hosts)
    kind = model_kind(request.model_kind)
    name = request.name.strip() or unquote(urlsplit(url).path.rpartition("/")[2])
    if Path(name).suffix.lower() not in kind.suffixes:
        endings = ", ".join(sorted(kind.suffixes))
        raise InvalidRequest(f"name: got {name[:120]!r}; the file of a {request.model_kind} ends in {endings}. Give its name.")
    check_name("name", name)
    check_free(kind.folder(catalog.paths) / name, overwrite=request.overwrite)
    return read_model_request(DownloadRequest, {**request.model_dump(), "url": url, "result": name})


class DownloadRun(Run):
    """A download while this process does it."""

    def __init__(self, job: Job, around: Surroundings, *, wants_cancel: bool = False) -> None:
        super().__init__(job, around, wants_cancel=wants_cancel)
        self._line = Line()

    def cancel(self) -> None:
        """End the job; what has come is thrown away."""
        self.wants_cancel = True
        self._line.cut()

    def interrupt(self) -> None:
        """Stop; the job goes on at the next start from what has come."""
        self.is_interrupted = True
        self._line.cut()

    def _draw(self) -> Finished | Cancelled | Failed:
        request, paths = self.job.request, self._around.catalog.paths
        assert isinstance(request, DownloadRequest)
        kind = model_kind(request.model_kind)
        target = kind.folder(paths) / request.result
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(target.parent, f".{'?' * DIGITS}.part*", seconds=SECONDS_A_PART_IS_KEPT)
        check_free(target, overwrite=request.overwrite)
        parts = _parts(target, request.url)
        if self._must_stop():
            self._line.cut()
        try:
            self._fetch(request, parts)
            _check_content(request, kind, parts, self._line)
        except (CutOff, HashingStopped):
            if self.wants_cancel:
                parts.remove()
            return Cancelled()
        self._publish(request, parts, target)
        self._around.catalog.refresh()
        self.job.log.append(Remark(f"Saved as {target.name} ({target.stat().st_size / GIGABYTE:.2f} GB)."))
        return Finished()

    def _fetch(self, request: DownloadRequest, parts: Parts) -> None:
        limit = int(self.job.settings.model_download_limit_gb * GIGABYTE)
        meter = _Meter()
        for received in fetch(request.url, parts, limit=limit, web=self._around.web, line=self._line):
            if news := meter.read(received):
                self._tell(news)

    @staticmethod
    def _publish(request: DownloadRequest, parts: Parts, target: Path) -> None:
        with parts.file.open("rb+") as file:
            os.fsync(file.fileno())
        if request.overwrite:
            check_free(target, overwrite=True)
            parts.file.replace(target)
        elif not publish(parts.file, target):
            raise InvalidRequest(
                f"There is a {target.name} by now in {target.parent.name}/. Give another name, or allow it to be replaced."
            )
        parts.remove()


class _Meter:
    """Makes of bytes what a job tells, a few times a second."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._told = -math.inf
        self._first: int | None = None

    def read(self, received: Received) -> Progress | None:
        """The news; None when the last one is too fresh."""
        now = time.monotonic()
        self._first = received.bytes if self._first is None else self._first
        total = received.total or 0
        if now - self._told < SECONDS_BETWEEN_NEWS and received.bytes != total:
            return None
        self._told = now
        speed = (received.bytes - self._first) / max(1e-6, now - self._began)
        eta = (total - received.bytes) / speed if speed and total else 0.0
        return Progress(0, 1, received.bytes // MEGABYTE, total // MEGABYTE, received.bytes / total if total else 0.0, eta)


def _check_content(request: DownloadRequest, kind: ModelKind, parts: Parts, line: Line) -> None:
    """Whether it is what it should be; if not, it is thrown away.  Raises ModelError, HashingStopped."""
    if request.sha256:
        found = sha256_of(parts.file, line.cut_off)
        if found != request.sha256:
            parts.remove()
            raise ModelError(f"{request.result} has the SHA-256 {found}, not {request.sha256}. It was thrown away; check the address.")
    try:
        kind.check(parts.file)
    except ModelError as error:
        parts.remove()
        raise ModelError(f"{request.result} {error}. It was thrown away.") from None


def _parts(target: Path, url: str) -> Parts:
    """Hidden names, which no walk through the folders takes for models; of the same URL the same, so that it can be gone on with."""
    digest = hashlib.sha256(f"{url}\n{target.name}".encode()).hexdigest()[:DIGITS]
    return Parts(target.with_name(f".{digest}.part{target.suffix.lower()}"), target.with_name(f".{digest}.part.json"))


def _url(source: str, hub: str) -> str:
    if "://" in source:
        return source
    found = _HUB_ID.fullmatch(source)
    if not found or any(set(part) == {"."} for part in source.split("/")):
        raise InvalidRequest(f"source: got {source[:120]!r}; give an https:// address, or owner/name/file on {hub}.")
    return f"{hub.rstrip('/')}/{found['owner']}/{found['name']}/resolve/main/{quote(found['file'])}"


def _check_host(host: str, allowed: str) -> None:
    """allowed: as in the settings, names of hosts with a comma between; "*" for all.  Raises InvalidRequest."""
    names = [name.strip().lower() for name in allowed.split(",") if name.strip()]
    if not any(name == "*" or host == name or host.endswith(f".{name}") for name in names):
        raise InvalidRequest(
            f"{host[:100]} is not one of the hosts that models are fetched from ({', '.join(names)[:300]}). Add it to model_download_hosts "
            "in the settings if you trust it."
        )

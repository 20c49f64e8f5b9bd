"""Fetching one commit of a git repository, and reading its files without checking them out.

git is run with none of the user's or the repository's configuration: no hooks, filters, credentials or submodules, no questions.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from webui.core.errors import InvalidRequest
from webui.core.web import LocalAddress, Web
from webui.plugins.install.processes import CommandFailed, Limits, run
from webui.plugins.install.sources import COMMIT, GitSource
from webui.plugins.install.unpacking import CHUNK, MAX_FILES, MAX_TOTAL, Unpacked, Unpacker

SECONDS_TO_ASK = 60.0
SUPPRESSED = (
    "core.hooksPath=/dev/null", "core.fsmonitor=false", "core.symlinks=false", "core.attributesFile=/dev/null", "credential.helper=",
    "fetch.recurseSubmodules=false", "gc.auto=0", "http.followRedirects=false", "http.lowSpeedLimit=500", "http.lowSpeedTime=30",
    "http.proxy=", "maintenance.auto=false", "protocol.ext.allow=never", "submodule.recurse=false", "transfer.fsckObjects=true",
    # Ancient repositories have these blemishes, and none of them matters to a reader of files.
    "fetch.fsck.zeroPaddedFilemode=ignore", "fetch.fsck.missingSpaceBeforeDate=ignore", "fetch.fsck.badTimezone=ignore",
)  # fmt: skip


@dataclass(frozen=True)
class Found:
    """What a repository has of what was asked for.  branch: "" for a commit.   wanted: what to ask it for."""

    commit: str
    branch: str
    wanted: str


@dataclass(frozen=True)
class Fetched:
    """One commit on this machine.  date: when it was made, in Unix seconds.   submodules: what it has besides, which is not fetched."""

    commit: str
    date: int
    branch: str
    unpacked: Unpacked
    submodules: tuple[str, ...]


class Git:
    """The git of this machine, let loose on one repository.  web: which hosts may be asked."""

    def __init__(self, source: GitSource, web: Web, limits: Limits) -> None:
        self._source = source
        self._web = web
        self._limits = limits
        self._program = shutil.which("git") or ""
        if not self._program:
            raise InvalidRequest("Extensions come from repositories by git, which is not installed here. Install git, or give a zip file.")

    def find(self) -> Found:
        """Ask the repository where a branch, a tag or its own branch stands.  Raises InvalidRequest."""
        ref = self._source.ref
        if COMMIT.fullmatch(ref):
            return Found(ref, "", ref)
        names = (f"refs/heads/{ref}", f"refs/tags/{ref}", f"refs/tags/{ref}^{{}}") if ref else ("HEAD",)
        limits = replace(self._limits, seconds=min(self._limits.seconds, SECONDS_TO_ASK))
        answer = self._ask(["ls-remote", "--symref", "--", self._source.url, *names], limits).decode("utf-8", "replace")
        found = {name: commit for commit, _, name in (line.partition("\t") for line in answer.splitlines()) if COMMIT.fullmatch(commit)}
        own = re.search(r"^ref: refs/heads/(\S+)\tHEAD$", answer, re.MULTILINE)
        for name in (names[0], *names[:0:-1]):
            if name in found:
                branch = ref or (own[1] if own else "")
                return Found(found[name], branch, name.removesuffix("^{}"))
        what = f"no branch and no tag {ref!r}" if ref else "nothing in it"
        raise InvalidRequest(f"The repository has {what}. Look at its page for what there is.")

    def fetch(self, target: Path) -> Fetched:
        """Get one commit and write its files to a folder that is not there yet.  Raises InvalidRequest."""
        found = self.find()
        self._run(["init", "--quiet", "--bare", "--template=", "--", "."], self._limits)
        self._fetch(found)
        try:
            head = run([*self._command(), "cat-file", "commit", found.commit], self._limits, env=self._environment()).decode(
                "utf-8", "replace"
            )
        except CommandFailed:
            raise InvalidRequest(
                f"The repository has no commit {found.commit}. Give a branch, or try again if it has just changed."
            ) from None
        dated = re.search(r"^committer .* (\d{1,12}) [+-]\d{4}$", head, re.MULTILINE)
        unpacked, submodules = self._write(found.commit, target)
        return Fetched(found.commit, int(dated[1]) if dated else 0, found.branch, unpacked, submodules)

    def _fetch(self, found: Found) -> None:
        ask = ["fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head"]
        address = ["--", self._source.url]
        try:
            self._ask([*ask, "--depth=1", *address, found.wanted], self._limits)
            return
        except InvalidRequest:
            if not COMMIT.fullmatch(found.wanted):
                raise
        # Not every server gives a commit by its number: get all branches, in which it should be.
        self._ask([*ask, *address, "+refs/heads/*:refs/heads/*"], self._limits)

    def _write(self, commit: str, target: Path) -> tuple[Unpacked, tuple[str, ...]]:
        """Write the files of a commit as they are stored: no filter, no attribute, no line ending is heeded."""
        listing = self._run(["ls-tree", "-r", "-l", "-z", "--full-tree", commit], self._limits)
        unpacker, submodules, total = Unpacker(target), [], 0
        entries = [entry for entry in listing.split(b"\0") if entry]
        if len(entries) > MAX_FILES:
            raise InvalidRequest(f"The repository has {len(entries)} files; no extension has more than {MAX_FILES}.")
        with _Blobs([*self._command(), "cat-file", "--batch"], self._limits.folder, self._environment()) as blobs:
            for entry in entries:
                facts, _, name = entry.partition(b"\t")
                mode, kind, blob, size = facts.split()
                path = name.decode("utf-8", "surrogateescape")
                if kind == b"commit":
                    submodules.append(path)
                    continue
                if mode not in (b"100644", b"100755", b"100664"):
                    raise InvalidRequest(f"{path[:120]!r} is a link or no plain file; an extension is made of plain files.")
                total += int(size)
                if total > MAX_TOTAL:
                    raise InvalidRequest(f"The repository's files are larger than {MAX_TOTAL / 1e9:.0f} GB together.")
                unpacker.add(path, blobs.read(blob))
        return unpacker.done(), tuple(submodules)

    def _ask(self, arguments: Sequence[str], limits: Limits) -> bytes:
        """Run what talks to the repository.  Raises InvalidRequest."""
        try:
            return run([*self._command(), *self._pinned_address(), *arguments], limits, env=self._environment())
        except CommandFailed as error:
            raise InvalidRequest(f"{self._source.url} cannot be fetched: {_reason(error.output)}") from None

    def _run(self, arguments: Sequence[str], limits: Limits) -> bytes:
        try:
            return run([*self._command(), *arguments], limits, env=self._environment())
        except CommandFailed as error:
            raise InvalidRequest(f"The repository cannot be read: {_reason(error.output)}") from None

    def _command(self) -> list[str]:
        return [self._program, "--no-replace-objects", *(part for setting in SUPPRESSED for part in ("-c", setting))]

    def _pinned_address(self) -> list[str]:
        """Makes git go to the very addresses that were judged, whatever the name means a moment later."""
        if self._source.local:
            return []
        parts = urlsplit(self._source.url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        try:
            addresses = list(dict.fromkeys(self._web.resolve(host, port)))
        except OSError:
            raise InvalidRequest(f"There is no host {host[:100]!r}, or no connection to the web. Check the address.") from None
        if not addresses or not all(self._web.allows(address) for address in addresses):
            raise LocalAddress(f"{host[:100]} is on this machine's own network, from which nothing is fetched. Give a public address.")
        written = ",".join(f"[{address}]" if ":" in address else address for address in addresses)
        return ["-c", f"http.curloptResolve={host}:{port}:{written}"]

    def _environment(self) -> Mapping[str, str]:
        kept = {
            name: value for name, value in os.environ.items()
            if not name.upper().startswith(("GIT_", "SSH_", "XDG_")) and not name.lower().endswith("_proxy")
        }  # fmt: skip
        return {
            **kept,
            "GIT_ALLOW_PROTOCOL": "file" if self._source.local else ":".join(sorted(self._web.schemes)),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_DIR": str(self._limits.folder),
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_TERMINAL_PROMPT": "0",
            # Where curl would look for passwords.
            "HOME": str(self._limits.folder),
            "LC_ALL": "C",
        }


class _Blobs:
    """A `git cat-file --batch`, asked for one file after another."""

    def __init__(self, command: Sequence[str], folder: Path, env: Mapping[str, str]) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(list(command), cwd=folder, env=dict(env), stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)

    def __enter__(self) -> _Blobs:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def read(self, blob: bytes) -> Iterator[bytes]:
        """The content of one, which has to be read to its end before the next."""
        asked, answers = self._process.stdin, self._process.stdout
        if asked is None or answers is None:
            raise InvalidRequest("The repository cannot be read.")
        try:
            asked.write(blob + b"\n")
            asked.flush()
        except OSError:
            raise InvalidRequest("The repository cannot be read: git ended.") from None
        header = answers.readline().split()
        if len(header) != 3 or header[1] != b"blob":
            raise InvalidRequest("The repository lacks a file that it lists.")
        yield from _exactly(answers, int(header[2]))
        answers.read(1)


def _exactly(stream: IO[bytes], size: int) -> Iterator[bytes]:
    while size:
        chunk = stream.read(min(size, CHUNK))
        if not chunk:
            raise InvalidRequest("The repository cannot be read: git ended.")
        size -= len(chunk)
        yield chunk


def _reason(output: str) -> str:
    """git's last words, in one line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    said = [line for line in lines if line.startswith(("fatal:", "error:", "remote:"))] or lines
    text = " ".join(said[-3:])
    return "".join(sign if sign.isprintable() else "?" for sign in text)[:400] or "git said nothing."

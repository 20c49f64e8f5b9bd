"""Where an extension is to come from, read from one line of text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from webui.core.errors import InvalidRequest
from webui.core.web import Web
from webui.plugins.manifest import check_folder_name

PYPI = "pypi:"
# What git takes for a name of a branch, without what it would read as an option, a range or an expression.
REF = re.compile(r"(?!.*(\.\.|//|@\{|\.lock(/|$)|/\.|\.$|/$))[A-Za-z0-9][A-Za-z0-9._/+#-]{0,199}")
COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True)
class GitSource:
    """A repository.  url: https, or the path of a local one.   ref: a branch, a tag, a whole commit; "" for its own branch."""

    url: str
    ref: str = ""
    local: bool = False

    kind = "git"

    @property
    def text(self) -> str:
        """As it is shown and written down."""
        return self.url

    @property
    def folder(self) -> str:
        """What the extension's folder is called if nobody says otherwise."""
        path = self.url if self.local else urlsplit(self.url).path
        return path.replace("\\", "/").rstrip("/").rpartition("/")[2].removesuffix(".git")


@dataclass(frozen=True)
class FolderSource:
    """A folder of this machine."""

    path: Path

    kind = "folder"
    ref = ""

    @property
    def text(self) -> str:
        """As it is shown and written down."""
        return str(self.path)

    @property
    def folder(self) -> str:
        """What the extension's folder is called if nobody says otherwise."""
        return self.path.name


@dataclass(frozen=True)
class ZipSource:
    """A zip file of this machine.  name: what it was called where it comes from."""

    path: Path
    name: str

    kind = "zip"
    ref = ""

    @property
    def text(self) -> str:
        """As it is shown and written down."""
        return self.name

    @property
    def folder(self) -> str:
        """What the extension's folder is called if nobody says otherwise: as the file, without the branch that GitHub adds."""
        return re.sub(r"-(main|master)$", "", re.sub(r"\.zip$", "", self.name, flags=re.IGNORECASE))


@dataclass(frozen=True)
class PackageSource:
    """A package of the index that pip asks.  requirement: a name, and "==version" or nothing."""

    requirement: str

    kind = "pypi"

    @property
    def text(self) -> str:
        """As it is shown and written down."""
        return f"{PYPI}{Requirement(self.requirement).name}"

    @property
    def ref(self) -> str:
        """The version that was asked for, or ""."""
        return next((each.version for each in Requirement(self.requirement).specifier), "")

    @property
    def folder(self) -> str:
        """What the extension's folder is called if nobody says otherwise."""
        return canonicalize_name(Requirement(self.requirement).name)


Source = GitSource | FolderSource | ZipSource | PackageSource


def read_source(text: str, web: Web, *, ref: str = "", local: bool = False) -> Source:
    """What a line of text names: https://host/path.git, with @branch or @commit behind it or not; pypi:name, pypi:name==version.

    web: which addresses may be asked.   ref: the branch or commit, if it is not in the text.   local: paths of folders and zip files
    may be given too.   Raises InvalidRequest on all else.
    """
    text = text.strip()
    if local and "://" not in text and not text.startswith((PYPI, "-")) and (path := Path(text).expanduser()).exists():
        return _local_source(path.resolve(), ref)
    if text.startswith(PYPI) and not ref:
        return _package(text.removeprefix(PYPI))
    scheme, colons, rest = text.partition("://")
    if not colons or scheme not in web.schemes:
        ways = "the https:// address of a git repository, or pypi: and the name of a package"
        raise InvalidRequest(f"Extensions are not fetched from {text[:80]!r}. Give {ways}{', or a path that exists' if local else ''}.")
    host, slash, rest = rest.partition("/")
    below, at, behind = rest.partition("@")
    if at and ref:
        raise InvalidRequest(f"The branch is given twice, as {behind[:80]!r} and as {ref[:80]!r}. Leave one out.")
    url = f"{scheme}://{host}{slash}{below}"
    parts = web.check(url)
    if parts.query or parts.fragment or not parts.path.strip("/"):
        raise InvalidRequest("The address is not that of a git repository: it has a ? or #, or no path. Copy the one that git clone takes.")
    if parts.path.lower().endswith(".zip"):
        raise InvalidRequest("The address is that of a zip file. Download it, and install the file.")
    return GitSource(url, checked_ref(behind or ref))


def checked_ref(ref: str) -> str:
    """A branch, a tag, a whole commit, or "".  Raises InvalidRequest."""
    if ref and not REF.fullmatch(ref):
        raise InvalidRequest(f"{ref[:80]!r} is no name of a branch, a tag or a whole commit.")
    return ref


def folder_for(source: Source, wanted: str) -> str:
    """What the extension's folder is to be called.  wanted: by the user, or "".  Raises InvalidRequest."""
    return check_folder_name(wanted or source.folder)


def _local_source(path: Path, ref: str) -> Source:
    if path.is_dir():
        if (path / ".git").exists() or (path / "HEAD").is_file():
            return GitSource(str(path), checked_ref(ref), local=True)
        if not ref:
            return FolderSource(path)
    elif not ref:
        return ZipSource(path, path.name)
    raise InvalidRequest(f"{path.name!r} is no git repository, so it has no branch {ref[:80]!r}. Leave the branch out.")


def _package(text: str) -> PackageSource:
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        raise InvalidRequest(f"{text[:80]!r} is no name of a package; write pypi:name or pypi:name==1.0.") from None
    specifiers = list(requirement.specifier)
    exact = not specifiers or (len(specifiers) == 1 and specifiers[0].operator == "==" and "*" not in specifiers[0].version)
    if requirement.url or requirement.extras or requirement.marker or not exact:
        raise InvalidRequest(f"{text[:80]!r} is more than a package and its version; write pypi:name or pypi:name==1.0.")
    return PackageSource(str(requirement))

"""The packages that an extension requires: resolved against the program's own first, then put into a folder of that extension alone.

Only wheels are taken, so nothing of a package runs when it is installed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from email.parser import HeaderParser
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from webui.core.errors import InvalidRequest
from webui.core.extensions import ResolvedPackage
from webui.core.paths import PROGRAM
from webui.plugins.install.processes import CommandFailed, Limits, run
from webui.plugins.manifest import checked_requirement

PINS = PROGRAM / "requirements.txt"
SAFE = ("--no-input", "--disable-pip-version-check", "--no-color", "--only-binary", ":all:")
NO_INDEX = ("NewConnectionError", "Failed to establish", "name resolution", "ConnectTimeout", "ProxyError", "Network is unreachable")


def read_pins(file: Path = PINS) -> Mapping[str, str]:
    """The versions this program runs on, by the packages' canonical names."""
    lines = (line.split("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines())
    pins = [Requirement(line) for line in lines if line]
    return {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in pins if pin.marker is None or pin.marker.evaluate()}


def needed(requirements: Sequence[str], pins: Mapping[str, str]) -> list[str]:
    """The requirements that this system has and that the program's own packages do not meet.

    Raises InvalidRequest, with all names, when one contradicts them.
    """
    lacking, conflicts = [], []
    for requirement in map(Requirement, requirements):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        pinned = pins.get(canonicalize_name(requirement.name))
        if pinned is None or requirement.extras:
            lacking.append(str(requirement))
        if pinned is not None and not requirement.specifier.contains(pinned, prereleases=True):
            conflicts.append(f"{requirement.name}{requirement.specifier} (this program runs on {pinned})")
    if conflicts:
        raise InvalidRequest(f"It requires {', '.join(conflicts)}. Look for a version of the extension that fits.")
    return lacking


def resolve(requirements: Sequence[str], limits: Limits) -> tuple[ResolvedPackage, ...]:
    """Which packages have to be installed beside the program's own, exactly.  Raises InvalidRequest naming what does not fit together.

    Nothing is installed. Without anything to look for, the index is not asked.
    """
    lacking = needed(requirements, read_pins())
    if not lacking:
        return ()
    report = limits.folder / "report.json"
    _pip(["install", *SAFE, "--dry-run", "--report", str(report), "--constraint", str(PINS), "--", *lacking], limits)
    found = json.loads(report.read_text(encoding="utf-8"))["install"]
    return tuple(sorted((_resolved(one) for one in found), key=lambda one: one.name))


def newest_version(package: str, limits: Limits) -> str:
    """The newest version of a package that fits this system.  Raises InvalidRequest."""
    report = limits.folder / "report.json"
    _pip(["install", *SAFE, "--dry-run", "--no-deps", "--ignore-installed", "--report", str(report), "--", package], limits)
    return str(json.loads(report.read_text(encoding="utf-8"))["install"][0]["metadata"]["version"])


def install(packages: Sequence[ResolvedPackage], target: Path, limits: Limits) -> None:
    """Put these very packages into a folder.  Raises InvalidRequest, also when the index gives another file than the one that was shown."""
    if not packages:
        return
    listed = limits.folder / "packages.txt"
    listed.write_text("".join(f"{one.name}=={one.version} --hash=sha256:{one.sha256}\n" for one in packages), encoding="utf-8")
    fixed = ("--no-deps", "--require-hashes", "--no-compile", "--no-warn-conflicts")
    _pip(["install", *SAFE, *fixed, "--target", str(target), "--requirement", str(listed)], limits)


def download_wheel(requirement: str, limits: Limits) -> Path:
    """The wheel of one package, without what it requires.  Raises InvalidRequest."""
    place = limits.folder / "wheel"
    _pip(["download", *SAFE, "--no-deps", "--dest", str(place), "--", requirement], limits)
    return next(place.glob("*.whl"))


def required_by(metadata: str) -> tuple[str, ...]:
    """The requirements in a wheel's METADATA, without those of its extras.  Raises InvalidRequest on ones that lead elsewhere."""
    listed = [checked_requirement(str(each)) for each in HeaderParser().parsestr(metadata).get_all("Requires-Dist", [])]
    return tuple(each for each in listed if not re.search(r"\bextra\b", str(Requirement(each).marker or "")))


def _resolved(found: Mapping[str, Any]) -> ResolvedPackage:
    link, metadata = found["download_info"], found["metadata"]
    sha256 = str(link.get("archive_info", {}).get("hashes", {}).get("sha256", ""))
    url = str(link["url"])
    if not sha256 and url.startswith("file:"):
        # A wheel of this machine's own index.
        sha256 = hashlib.sha256(Path(url2pathname(urlsplit(url).path)).read_bytes()).hexdigest()
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise InvalidRequest(f"The index gives no SHA-256 for {metadata['name']}, so what is shown could not be what is installed.")
    return ResolvedPackage(name=canonicalize_name(str(metadata["name"])), version=str(metadata["version"]), sha256=sha256)


def _pip(arguments: Sequence[str], limits: Limits) -> bytes:
    # -I, because a pip.py in the working folder, or what PYTHONPATH names, must not be run in pip's place.
    try:
        return run([sys.executable, "-I", *_pip_itself(), *arguments], limits, env=os.environ)
    except CommandFailed as error:
        raise InvalidRequest(_reason(error.output)) from None


def _pip_itself() -> list[str]:
    """What Python is to run as pip: the environment's, or the one that came with Python, where uv made the environment."""
    if importlib.util.find_spec("pip"):
        return ["-m", "pip"]
    found = importlib.util.find_spec("ensurepip")
    for place in (found.submodule_search_locations or ()) if found else ():
        for wheel in Path(place, "_bundled").glob("pip-*.whl"):
            return [str(wheel / "pip")]
    raise InvalidRequest("This extension requires packages, and there is no pip here to fetch them with. Install pip, and try again.")


def _reason(output: str) -> str:
    """pip's own words on what went wrong, in one or two sentences."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if any(sign in output for sign in NO_INDEX):
        return "The index of packages cannot be reached. Check the connection, and try again."
    if "THESE PACKAGES DO NOT MATCH THE HASHES" in output:
        return "The index gives another file than the one that was shown. Prepare the installation again."
    caused = next((number for number, line in enumerate(lines) if line.startswith("The conflict is caused by")), None)
    if caused is not None:
        causes = [line for line in lines[caused + 1 : caused + 6] if " depends on " in line or line.startswith("The user requested")]
        known = "; ".join(cause.replace("The user requested (constraint)", "this program runs on") for cause in causes)
        return f"Its requirements do not fit together: {known.replace('The user requested', 'it requires')}."
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR:")] or lines[-2:]
    text = " ".join(errors)[:600]
    return f"Its requirements cannot be installed. {''.join(sign if sign.isprintable() else '?' for sign in text)}"

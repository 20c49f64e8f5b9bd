"""`python launch.py extensions ...`: what the Extensions tab does, on the command line, and a new extension to begin with."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import MappingProxyType

from webui.core.errors import WebuiError
from webui.core.extensions import JAVASCRIPT, NATIVE, PYTHON, ConsentSheet, InstalledExtension
from webui.core.paths import Paths
from webui.core.settings_store import SettingsStore
from webui.core.web import Web
from webui.plugins.install.installer import Installer
from webui.plugins.install.template import write_template

NEXT_START = "It runs from the next start of the program on."


def run_command(words: Sequence[str], paths: Paths, *, web: Web | None = None) -> int:
    """Do what the words behind "extensions" say; returns the exit code.  web: which hosts may be asked.

    Ends the process as argparse does: 0 after --help, 2 after words that mean nothing.
    """
    given = _parser().parse_args(list(words))
    paths.extensions.mkdir(parents=True, exist_ok=True)
    try:
        with closing(Installer(paths.extensions, SettingsStore(paths.config), web=web)) as installer:
            installer.begin()
            return COMMANDS[given.command](installer, given, paths)
    except WebuiError as error:
        print(error, file=sys.stderr)
        return 1


def consent_text(sheet: ConsentSheet) -> str:
    """A consent sheet as lines of text."""
    origin = f"{sheet.source}{f', {sheet.ref}' if sheet.ref else ''}{f', commit {sheet.commit}' if sheet.commit else ''}"
    lines = [f"{sheet.name} {sheet.version}".strip(), *([sheet.description] if sheet.description else []), f"  from      {origin}"]
    lines += [f"  to        extensions/{sheet.folder}{f', in place of {sheet.replaces}' if sheet.replaces else ''}"]
    lines += [f"  files     {len(sheet.files)}, {sheet.size / 1e6:.2f} MB"]
    kinds: Mapping[str, Sequence[str]] = {"Python": PYTHON, "script": JAVASCRIPT, "native": NATIVE}
    for kind, suffixes in kinds.items():
        lines += [f"  {kind:<9} {file.path} ({file.size} bytes)" for file in sheet.files_of(suffixes)]
    lines += [f"  package   {one.name} {one.version}" for one in sheet.packages]
    lines += [f"  hooks     {', '.join(sheet.hooks)}"] if sheet.hooks else []
    lines += [f"  left out  {path}" for path in sheet.left_out]
    return "\n".join([*lines, *(f"  ! {remark}" for remark in sheet.remarks)])


def _install(installer: Installer, given: argparse.Namespace, _: Paths) -> int:
    source, options = given.source, {"folder": given.name, "replaces": given.replace}
    return _agree(installer, installer.prepare(source, ref=given.branch, local=True, **options), given)


def _update(installer: Installer, given: argparse.Namespace, _: Paths) -> int:
    if given.names:
        return max(_agree(installer, installer.prepare_update(name), given) for name in given.names)
    newer = [one.folder for one in installer.check_updates() if one.update]
    if not newer:
        print("Every extension that can be asked for is up to date.")
    return max((_agree(installer, installer.prepare_update(name), given) for name in newer), default=0)


def _agree(installer: Installer, sheet: ConsentSheet, given: argparse.Namespace) -> int:
    print(consent_text(sheet))
    print("An extension is a program: it can do whatever you can do on this machine.")
    if not given.yes and not _asked("Install it?"):
        installer.cancel(sheet.digest)
        print("Nothing was installed.")
        return 1
    one = installer.confirm(sheet.digest)
    print(f"{one.name} is installed in extensions/{one.folder}. {NEXT_START if one.enabled else 'It is off.'}")
    return 0


def _list(installer: Installer, given: argparse.Namespace, _: Paths) -> int:
    found = installer.check_updates() if given.check else installer.installed()
    for one in found:
        print(_line(one))
    if not found:
        print("There is no extension.")
    return 0


def _line(one: InstalledExtension) -> str:
    facts = [one.commit[:8], one.source, f"! {one.error}" if one.error else "", f"newer: {one.update[:40]}" if one.update else ""]
    return "  ".join(["on " if one.enabled else "off", f"{one.folder:<32}", f"{one.version:<10}", *filter(None, facts)]).rstrip()


def _enable(installer: Installer, given: argparse.Namespace, _: Paths) -> int:
    for name in given.names:
        installer.enable(name, enabled=given.command == "enable")
        print(f"{name} is {'on' if given.command == 'enable' else 'off'} from the next start of the program on.")
    return 0


def _remove(installer: Installer, given: argparse.Namespace, paths: Paths) -> int:
    if not given.yes and not _asked(f"Remove {', '.join(given.names)}?"):
        print("Nothing was removed.")
        return 1
    for name in given.names:
        print(f"{name} was moved to {installer.remove(name).relative_to(paths.data).as_posix()}.")
    return 0


def _new(_: Installer, given: argparse.Namespace, paths: Paths) -> int:
    folder = write_template(paths.extensions, given.name)
    where = Path("extensions") / folder.name
    print(f"{where.as_posix()} is a working extension. {NEXT_START}")
    print(f"Its test: python -m pytest {folder}")
    return 0


def _asked(question: str) -> bool:
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        print()
        return False


COMMANDS: Mapping[str, Callable[[Installer, argparse.Namespace, Paths], int]] = MappingProxyType({
    "install": _install, "list": _list, "update": _update, "enable": _enable, "disable": _enable, "remove": _remove, "new": _new,
})  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="launch.py extensions", description="Install, list and remove extensions.", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, help: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=help, description=help, allow_abbrev=False)

    install = add("install", "install from a git repository, a folder, a zip file, or a package (pypi:NAME)")
    install.add_argument("source", help="https://host/path[@branch], a path, or pypi:NAME[==VERSION]")
    install.add_argument("--branch", default="", metavar="REF", help="branch, tag or whole commit of the repository")
    install.add_argument("--name", default="", metavar="FOLDER", help="what its folder is to be called")
    install.add_argument("--replace", action="store_true", help="put it in the place of the one that is called so")
    update = add("update", "install what is newest where extensions came from")
    update.add_argument("names", nargs="*", metavar="NAME", help="a folder under extensions/; all of them without a name")
    remove = add("remove", "move extensions into extensions/.trash")
    remove.add_argument("names", nargs="+", metavar="NAME", help="a folder under extensions/")
    for one in (install, update, remove):
        one.add_argument("--yes", action="store_true", help="do not ask")
    listing = add("list", "list what is installed")
    listing.add_argument("--check", action="store_true", help="ask where they came from whether there are newer ones")
    for name in ("enable", "disable"):
        add(name, f"{name} extensions").add_argument("names", nargs="+", metavar="NAME", help="a folder under extensions/")
    add("new", "write a working extension to begin with").add_argument("name", metavar="NAME", help="what its folder is to be called")
    return parser

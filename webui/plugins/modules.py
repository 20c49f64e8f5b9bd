"""Importing extensions, each into a package of its own, with the libraries it brought.

An extension's modules are called webui_extensions.FOLDER and below. What lies in its `.site-packages` is imported as
webui_extensions.FOLDER._site.NAME, and served to imports that stand in that extension's code, or in those libraries, alone: their
`__import__` looks there for every name that the program itself has not got. So two extensions may have two versions of one library,
and neither meets the other's.

Limits: a library that asks for itself by a text (importlib.import_module("lib.part"), sys.modules["lib"], importlib.metadata) is not
helped, for that goes past `__import__`; a library that the program has too is the program's, which installing makes sure of; compiled
libraries work as far as they may be loaded twice.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    PathFinder,
    SourceFileLoader,
)
from pathlib import Path
from types import ModuleType
from typing import Any

from webui.plugins.manifest import SITE_PACKAGES

ENTRY = "extension.py"
PACKAGE = "webui_extensions"
SITE = "_site"


def module_name(extension: str) -> str:
    """The name that an extension's own module has."""
    return f"{PACKAGE}.{extension}"


def import_extension(folder: Path) -> ModuleType:
    """Run an extension's entry.  Raises whatever it raises."""
    _install_finder()
    name = module_name(folder.name)
    forget(folder.name)
    parent = sys.modules.setdefault(PACKAGE, ModuleType(PACKAGE))
    parent.__path__ = []
    loader = _Loader(name, str(folder / ENTRY))
    spec = importlib.util.spec_from_file_location(name, folder / ENTRY, loader=loader, submodule_search_locations=[str(folder)])
    if spec is None:
        raise ImportError(f"{folder / ENTRY} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if (folder / SITE_PACKAGES).is_dir():
        site = ModuleType(f"{name}.{SITE}")
        site.__path__ = [str(folder / SITE_PACKAGES)]
        sys.modules[site.__name__] = site
    loader.exec_module(module)
    return module


def forget(extension: str) -> None:
    """Drop an extension's modules, so that a later load does not meet parts of an earlier one."""
    name = module_name(extension)
    for module in [module for module in sys.modules if module == name or module.startswith(f"{name}.")]:
        del sys.modules[module]


class _Loader(SourceFileLoader):
    """Runs a module with an `__import__` that knows where it belongs."""

    def exec_module(self, module: ModuleType) -> None:
        """Run it."""
        scope = _Scope(module.__name__)
        if scope.has_libraries:
            module.__dict__["__builtins__"] = {**vars(builtins), "__import__": scope.find}
        super().exec_module(module)


class _Finder:
    """Finds the modules below webui_extensions, by their parents' folders; knows no extension itself."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """As importlib asks."""
        if not name.startswith(f"{PACKAGE}.") or path is None:
            return None
        for folder in path:
            found = FileFinder(folder, (ExtensionFileLoader, EXTENSION_SUFFIXES), (_Loader, SOURCE_SUFFIXES)).find_spec(name)
            if found is not None and found.loader is not None:
                return found
        return PathFinder.find_spec(name, path, target)  # a folder without __init__.py


class _Scope:
    """Where the imports of one module look first."""

    def __init__(self, name: str) -> None:
        extension = _extension_of(name)
        self._site = f"{PACKAGE}.{extension}.{SITE}"
        self._known: dict[str, bool] = {}

    @property
    def has_libraries(self) -> bool:
        """Whether the extension brought any."""
        return self._site in sys.modules

    def find(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """As builtins.__import__."""
        top = name.partition(".")[0]
        if level == 0 and self._brings(top):
            whole = _imported(f"{self._site}.{name}")
            if not fromlist:
                return sys.modules[f"{self._site}.{top}"]
            for part in fromlist:
                is_missing = part != "*" and hasattr(whole, "__path__") and not hasattr(whole, part)
                if is_missing and importlib.util.find_spec(f"{whole.__name__}.{part}") is not None:
                    _imported(f"{whole.__name__}.{part}")
            return whole
        return builtins.__import__(name, globals, locals, fromlist or (), level)

    def _brings(self, top: str) -> bool:
        if top not in self._known:
            self._known[top] = not _program_has(top) and importlib.util.find_spec(f"{self._site}.{top}") is not None
        return self._known[top]


def _imported(name: str) -> ModuleType:
    return importlib.import_module(name)


def _program_has(top: str) -> bool:
    if top in sys.modules or top in sys.builtin_module_names:
        return True
    try:
        return importlib.util.find_spec(top) is not None
    except (ImportError, ValueError):
        return False


def _extension_of(name: str) -> str:
    """The folder's name in a module's, which may have dots itself: the longest that is an extension's entry."""
    parts = name.removeprefix(f"{PACKAGE}.").split(".")
    for count in range(1, len(parts) + 1):
        candidate = ".".join(parts[:count])
        module = sys.modules.get(f"{PACKAGE}.{candidate}")
        if module is not None and Path(getattr(module, "__file__", None) or "").name == ENTRY:
            return candidate
    return parts[0]


def _install_finder() -> None:
    """One for all hosts: it keeps nothing."""
    if _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)

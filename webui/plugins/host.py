"""The host of the extensions: loads them from their folder and calls their hooks. Owns its own plugin manager."""

from __future__ import annotations

import importlib.util
import logging
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from pluggy import HookImpl, PluginManager, PluginValidationError

from webui.core.errors import InvalidRequest, UnknownName, WebuiError
from webui.core.request import GenerationRequest
from webui.core.result import GenerationResult, Picture
from webui.core.scripts import Script
from webui.plugins import hookspecs
from webui.plugins.scripts import built_in_scripts

log = logging.getLogger(__name__)

ENTRY = "extension.py"
PACKAGE = "webui_extensions"


@dataclass(frozen=True)
class Extension:
    """One folder under extensions/.  error: why it is not enabled."""

    name: str
    path: Path
    enabled: bool
    error: str | None = None


class Host:
    """Loads extensions and passes hook calls on to them; an implementation of `webui.core.ports.Hooks`.

    safe_mode: list the extensions, run none of their code.
    """

    def __init__(self, extensions_dir: Path, *, safe_mode: bool = False) -> None:
        self._folder = extensions_dir
        self._safe_mode = safe_mode
        self._extensions: tuple[Extension, ...] = ()
        self._plugins = PluginManager(hookspecs.PROJECT)
        self._plugins.add_hookspecs(hookspecs)
        self._scripts = built_in_scripts()

    def load(self) -> None:
        """Import every extension, in the order of their names. One that fails is disabled and says why; the others go on."""
        if not self._folder.is_dir():
            return
        folders = sorted(path for path in self._folder.iterdir() if path.is_dir() and path.name[0] not in "._")
        loaded = [self._load(folder) for folder in folders]
        # pluggy calls the last registered first; registering backwards makes hooks run in the order of the names.
        registered = [self._register(extension) for extension in reversed(loaded)]
        self._extensions = tuple(reversed(registered))

    def extensions(self) -> tuple[Extension, ...]:
        """All extensions found, by name, disabled ones too."""
        return self._extensions

    def change_request(self, request: GenerationRequest) -> GenerationRequest:
        """The request after every extension had its say.  Raises WebuiError naming the extension that failed or refused."""
        for implementation in self._implementations("change_request"):
            try:
                answer = _call(implementation, request=request)
            except InvalidRequest as error:
                raise InvalidRequest(f"Extension '{implementation.plugin_name}' refused the request: {error}") from error
            except Exception as error:
                log.exception("Extension '%s' failed in change_request", implementation.plugin_name)
                raise WebuiError(
                    f"Extension '{implementation.plugin_name}' failed in change_request: {_told(error)}. "
                    "Take it out of extensions/ to go on without it."
                ) from error
            request = _checked(answer, request, implementation.plugin_name)
        return request

    def scripts(self) -> tuple[Script[Any], ...]:
        """The program's own."""
        return self._scripts

    def find_script(self, title: str) -> Script[Any]:
        """The script of that title, whatever its case.  Raises UnknownName."""
        for script in self._scripts:
            if script.title.lower() == title.strip().lower():
                return script
        raise UnknownName("script", title, [script.title for script in self._scripts])

    def picture_saved(self, picture: Picture) -> None:
        """Tell every extension; one that fails is logged."""
        self._tell("picture_saved", picture=picture)

    def job_finished(self, job_id: str, result: GenerationResult) -> None:
        """Tell every extension; one that fails is logged."""
        self._tell("job_finished", job_id=job_id, result=result)

    def _load(self, folder: Path) -> Extension:
        """Import one; nothing of it is called yet."""
        if self._safe_mode:
            return Extension(folder.name, folder, enabled=False, error="not loaded: safe mode")
        if not (folder / ENTRY).is_file():
            return Extension(folder.name, folder, enabled=False, error=f"has no {ENTRY}")
        extension = Extension(folder.name, folder, enabled=True)
        try:
            _import(folder)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a border: an extension may raise anything, and is named
            return _disabled(extension, error)
        return extension

    def _register(self, extension: Extension) -> Extension:
        """Let an imported one hear the hooks."""
        if not extension.enabled:
            return extension
        module = sys.modules[_module_name(extension.name)]
        try:
            self._plugins.register(module, name=extension.name)
            self._plugins.check_pending()
            if any(each.hookwrapper or each.wrapper for each in self._implementations_of(module)):
                raise PluginValidationError(module, "hook wrappers are not supported; write a plain @hookimpl function")
        except (PluginValidationError, TypeError) as error:
            if self._plugins.is_registered(module):
                self._plugins.unregister(module)
            return _disabled(extension, error)
        log.info("extension '%s' loaded", extension.name)
        return extension

    def _implementations_of(self, module: ModuleType) -> list[HookImpl]:
        callers = self._plugins.get_hookcallers(module) or []
        return [each for caller in callers for each in caller.get_hookimpls() if each.plugin is module]

    def _implementations(self, hook: str) -> list[HookImpl]:
        """In pluggy's order of calling."""
        return list(reversed(getattr(self._plugins.hook, hook).get_hookimpls()))

    def _tell(self, hook: str, **arguments: Any) -> None:
        for implementation in self._implementations(hook):
            try:
                _call(implementation, **arguments)
            except Exception:
                log.exception("Extension '%s' failed in %s", implementation.plugin_name, hook)


def _call(implementation: HookImpl, **arguments: Any) -> Any:
    return implementation.function(*(arguments[name] for name in implementation.argnames))


def _checked(answer: Any, request: GenerationRequest, extension: str) -> GenerationRequest:
    """What an extension answered, validated as if it came from outside: a copy can be made without validation."""
    if answer is None:
        return request
    if not isinstance(answer, GenerationRequest):
        kind = type(answer).__name__
        raise WebuiError(f"Extension '{extension}' returned a {kind} from change_request; return a GenerationRequest or None.")
    try:
        return answer.changed()
    except InvalidRequest as error:
        raise InvalidRequest(f"Extension '{extension}' returned an invalid request. {error}") from error


def _module_name(extension: str) -> str:
    return f"{PACKAGE}.{extension}"


def _import(folder: Path) -> None:
    """Run extension.py as a package of its own, so that it can import its neighbours with `from . import`."""
    name = _module_name(folder.name)
    _forget(folder.name)
    parent = sys.modules.setdefault(PACKAGE, ModuleType(PACKAGE))
    parent.__path__ = []
    spec = importlib.util.spec_from_file_location(name, folder / ENTRY, submodule_search_locations=[str(folder)])
    if spec is None or spec.loader is None:
        raise ImportError(f"{folder / ENTRY} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


def _forget(extension: str) -> None:
    """Drop the extension's modules, so that a later load does not meet parts of an earlier one."""
    name = _module_name(extension)
    for module in [module for module in sys.modules if module == name or module.startswith(f"{name}.")]:
        del sys.modules[module]


def _disabled(extension: Extension, error: BaseException) -> Extension:
    log.error("Extension '%s' is disabled: it cannot be loaded", extension.name, exc_info=error)
    _forget(extension.name)
    return replace(extension, enabled=False, error=_told(error))


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__

"""The host of the extensions: loads them from their folder, keeps what they add, and calls their hooks. Owns its own plugin manager."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from pluggy import HookImpl, PluginManager, PluginValidationError

from webui import __version__
from webui.core.errors import ExtensionFailed, InvalidRequest, UnknownName, WebuiError
from webui.core.extension_points import Addition, Assets, NewPostprocessor, NewTab
from webui.core.result import GenerationResult, Picture
from webui.core.scripts import Script
from webui.plugins import hookspecs, scripts
from webui.plugins.calls import OWN, SLOW_SECONDS, Calls, is_own, told
from webui.plugins.engine_side import EngineSide
from webui.plugins.job_side import JobSide
from webui.plugins.manifest import check_program_version, read_manifest
from webui.plugins.modules import ENTRY, forget, import_extension
from webui.plugins.registry import read_addition, read_assets
from webui.plugins.script import AlwaysOnScript

log = logging.getLogger(__name__)

NONE = "none"
SCRIPTS_ALONE: Mapping[str, object] = MappingProxyType({"scripts": scripts})


@dataclass(frozen=True)
class Extension:
    """One folder under extensions/.

    error: why it is not enabled.   is_disabled: whether that is what the settings say.   hooks: those it implements.
    seconds: that loading it took.
    """

    name: str
    path: Path
    enabled: bool
    error: str | None = None
    is_disabled: bool = False
    hooks: tuple[str, ...] = ()
    seconds: float = 0.0


class Host(JobSide):
    """Loads extensions and passes hook calls on to them; an implementation of `webui.core.ports.Hooks`.

    own: the program's own plugins by name, registered before all others.   safe_mode: list the extensions, run none of their code.
    slow_seconds: a hook that takes longer is named in the log.
    """

    def __init__(
        self,
        extensions_dir: Path,
        own: Mapping[str, object] = SCRIPTS_ALONE,
        *,
        safe_mode: bool = False,
        slow_seconds: float = SLOW_SECONDS,
    ) -> None:
        self._folder = extensions_dir
        self._safe_mode = safe_mode
        self._extensions: tuple[Extension, ...] = ()
        self._additions: tuple[Addition, ...] = ()
        self._assets: tuple[Assets, ...] = ()
        self._plugins = PluginManager(hookspecs.PROJECT)
        self._plugins.add_hookspecs(hookspecs)
        self._hook_names = tuple(vars(self._plugins.hook))
        self._calls = Calls(slow_seconds)
        self._is_open = False
        for name, plugin in own.items():
            self._plugins.register(plugin, name=OWN + name)
        self._plugins.check_pending()
        self._own_additions = tuple(read_addition(OWN + name, self._functions(OWN + name), self._calls, (), is_own=True) for name in own)
        self.engine_side = EngineSide(self)

    def load(self, *, disabled: Collection[str] = (), disable_all: str = NONE) -> None:
        """Import every extension, in the order of their names. One that fails is disabled and says why; the others go on.

        disabled: names of folders to leave out.   disable_all: "extra" or "all" leaves out all of them.
        """
        if not self._folder.is_dir():
            return
        folders = sorted(path for path in self._folder.iterdir() if path.is_dir() and path.name[0] not in "._")
        left_out = {folder.name for folder in folders} if disable_all != NONE else set(disabled)
        loaded = [self._load(folder, is_disabled=folder.name in left_out) for folder in folders]
        # pluggy calls the last registered first; registering backwards makes hooks run in the order of the names.
        registered = {extension.name: self._register(extension, module) for extension, module in reversed(loaded)}
        self._extensions = tuple(self._with_additions(registered[extension.name]) for extension, _ in loaded)

    def extensions(self) -> tuple[Extension, ...]:
        """All extensions found, by name, disabled ones too."""
        return self._extensions

    def additions(self) -> tuple[Addition, ...]:
        """What enabled extensions add, by their names."""
        return self._additions

    def assets(self) -> tuple[Assets, ...]:
        """The files of enabled extensions that the page loads, by their names."""
        return self._assets

    def scripts(self) -> tuple[Script[Any], ...]:
        """The program's own, then those of extensions."""
        every = (*self._own_additions, *self._additions)
        return tuple(one for addition in every for one in addition.scripts if isinstance(one, Script))

    def postprocessors(self) -> tuple[NewPostprocessor, ...]:
        """Steps of the Extras tab, in the order in which they work: the program's own, and those of extensions."""
        every = (*self._own_additions, *self._additions)
        return tuple(sorted((one for addition in every for one in addition.postprocessors), key=attrgetter("order")))

    def find_script(self, title: str) -> Script[Any]:
        """The script of that title, whatever its case.  Raises UnknownName."""
        for script in self.scripts():
            if script.title.lower() == title.strip().lower():
                return script
        raise UnknownName("script", title, [script.title for script in self.scripts()])

    def always_on(self) -> tuple[AlwaysOnScript, ...]:
        """The always-on scripts of extensions."""
        return tuple(one for addition in self._additions for one in addition.scripts if isinstance(one, AlwaysOnScript))

    def tabs(self, app: Any) -> tuple[tuple[str, NewTab], ...]:
        """The tabs that extensions add, each with its extension; an extension that fails here has none, and is named in the log."""
        tabs: list[tuple[str, NewTab]] = []
        for implementation in self.implementations("register_tabs"):
            name = implementation.plugin_name
            try:
                answered = self._calls.call(name, "register_tabs", implementation.function, {"app": app})
                tabs += [(name, tab) for tab in answered or () if isinstance(tab, NewTab)]
            except Exception as error:  # noqa: BLE001 - a border: what it raised is told by the log
                log.error("%s", error)
        return tuple(tabs)

    def build(self, extension: str, tab: NewTab) -> None:
        """Lay a tab out.  Raises ExtensionFailed, InvalidRequest."""
        self._calls.call(extension, f"its tab {tab.title!r}", tab.build, {})

    def at_component(self, script: AlwaysOnScript, method: str, given: Mapping[str, Any]) -> None:
        """Tell a script of a control of the page that is being laid out; one that fails is logged, and the page goes on."""
        try:
            self._calls.call(script.extension, method, getattr(script.script, method), given)
        except WebuiError as error:
            log.warning("%s", error)

    def add_routes(self, extension: str, router: Any, app: Any) -> None:
        """Let an extension add its routes.  Raises ExtensionFailed, InvalidRequest."""
        for implementation in self.implementations("register_routes"):
            if implementation.plugin_name == extension:
                self._calls.call(extension, "register_routes", implementation.function, {"router": router, "app": app})

    def start(self, app: Any) -> None:
        """Tell every extension that the program begins; one that fails is logged."""
        self._is_open = True
        self._tell("startup", app=app)

    def close(self) -> None:
        """Tell every extension that the program ends; one that fails is logged. Idempotent."""
        if self._is_open:
            self._is_open = False
            self._tell("shutdown")

    def picture_saved(self, picture: Picture) -> None:
        """Tell every extension; one that fails is logged."""
        self._tell("image_saved", picture=picture)

    def job_finished(self, job_id: str, result: GenerationResult) -> None:
        """Tell every extension; one that fails is logged."""
        self._tell("job_finished", job_id=job_id, result=result)

    def implementations(self, hook: str) -> list[HookImpl]:
        """In pluggy's order of calling."""
        return list(reversed(getattr(self._plugins.hook, hook).get_hookimpls()))

    def implements(self, *hooks: str) -> bool:
        """Whether any extension implements one of these; the program's own plugins do not count."""
        return any(not is_own(one.plugin_name) for hook in hooks for one in self.implementations(hook))

    @property
    def calls(self) -> Calls:
        """How their code is run."""
        return self._calls

    def _load(self, folder: Path, *, is_disabled: bool) -> tuple[Extension, ModuleType | None]:
        """Import one; nothing of it is called yet."""
        extension = Extension(folder.name, folder, enabled=False)
        if self._safe_mode:
            return replace(extension, error="not loaded: safe mode"), None
        if is_disabled:
            return replace(extension, error="disabled in the settings", is_disabled=True), None
        if not (folder / ENTRY).is_file():
            brings_files = any((folder / name).exists() for name in ("javascript", "style.css", "localizations"))
            return replace(extension, enabled=brings_files, error=None if brings_files else f"has no {ENTRY}"), None
        began = time.perf_counter()
        try:
            check_program_version(read_manifest(folder), __version__)
            module = import_extension(folder)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a border: an extension may raise anything, and is named
            return _disabled(extension, error), None
        return replace(extension, enabled=True, seconds=time.perf_counter() - began), module

    def _register(self, extension: Extension, module: ModuleType | None) -> Extension:
        """Let an imported one hear the hooks."""
        if not extension.enabled or module is None:
            return extension
        try:
            self._plugins.register(module, name=extension.name)
            self._plugins.check_pending()
            own = self._own(extension.name)
            if any(each.hookwrapper or each.wrapper for each in own.values()):
                raise PluginValidationError(module, "hook wrappers are not supported; write a plain @hookimpl function")
        except (PluginValidationError, TypeError) as error:
            self._unregister(extension)
            return _disabled(extension, error)
        log.info("extension '%s' loaded in %.2f s", extension.name, extension.seconds)
        return replace(extension, hooks=tuple(own))

    def _with_additions(self, extension: Extension) -> Extension:
        """Take up what it adds: all of it, or none, and then it is disabled."""
        if not extension.enabled:
            return extension
        taken = (*self._own_additions, *self._additions)
        try:
            addition = read_addition(extension.name, self._functions(extension.name), self._calls, taken)
            assets = read_assets(extension.name, extension.path)
        except Exception as error:  # noqa: BLE001 - a border, as above
            self._unregister(extension)
            return _disabled(extension, error)
        self._additions += (addition,)
        self._assets += (assets,)
        return extension

    def _own(self, extension: str) -> dict[str, HookImpl]:
        """The implementations of one extension, by hook."""
        every = ((hook, each) for hook in self._hook_names for each in self.implementations(hook))
        return {hook: each for hook, each in every if each.plugin_name == extension}

    def _functions(self, extension: str) -> dict[str, Callable[..., Any]]:
        """The functions of one extension by the hook that they implement."""
        return {hook: each.function for hook, each in self._own(extension).items()}

    def _unregister(self, extension: Extension) -> None:
        if self._plugins.has_plugin(extension.name):
            self._plugins.unregister(name=extension.name)

    def _tell(self, hook: str, **arguments: Any) -> None:
        for implementation in self.implementations(hook):
            try:
                self._calls.call(implementation.plugin_name, hook, implementation.function, arguments)
            except Exception as error:  # noqa: BLE001 - what only tells disturbs nobody
                if not isinstance(error, ExtensionFailed):  # which is in the log already
                    log.warning("%s", error)


def _disabled(extension: Extension, error: BaseException) -> Extension:
    log.error("Extension '%s' is disabled: it cannot be loaded", extension.name, exc_info=error)
    forget(extension.name)
    return replace(extension, enabled=False, error=str(error) if isinstance(error, ExtensionFailed | InvalidRequest) else told(error))

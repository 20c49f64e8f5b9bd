"""From the command line to a serving program and to its end: logging, folders, App, server, page, port, signals.

Importing this, and serving with --nowebui, brings in neither torch nor gradio.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import Any, NoReturn

import uvicorn
from fastapi import FastAPI

from webui.api.origin import ANY_ADDRESS
from webui.api.server import build_server
from webui.app import App
from webui.core.desktop import Desktop, find_desktop
from webui.core.errors import StartupError
from webui.core.paths import PROGRAM, Paths, standard_paths
from webui.engine.warmup import EngineOptions
from webui.flags import Flags, parse_flags
from webui.plugins.install.commands import run_command

log = logging.getLogger(__name__)

LOOPBACK = ("127.0.0.1", "::1", "localhost")
PORTS_TRIED = 10
SECONDS_FOR_OPEN_CONNECTIONS = 2

# Libraries that would ask the network for something; set before they are imported, whatever the user's shell says.
OFFLINE = MappingProxyType({
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "NO_ALBUMENTATIONS_UPDATE": "1",
})  # fmt: skip


def main(argv: Sequence[str]) -> int:
    """Run the program until it is told to end; returns its exit code."""
    flags = parse_flags(argv)
    start_logging(flags.loglevel)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        if flags.command:
            return run_command(flags.command[1:], paths_from(flags))
        _run(flags)
    except StartupError as error:
        log.error("%s", error)
        return 1
    except KeyboardInterrupt:
        log.info("ended")
    return 0


def start_logging(level: str) -> None:
    """One line a message, with the seconds since the start. Libraries are heard from warnings on."""
    handler = logging.StreamHandler()
    handler.setFormatter(StageFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("webui").setLevel(level)


class StageFormatter(logging.Formatter):
    """`[  1.2 s] message`.  Control characters are escaped: prompts and file names must not write lines of their own."""

    def format(self, record: logging.LogRecord) -> str:
        message = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in record.getMessage())
        level = "" if record.levelno == logging.INFO else f"{record.levelname}: "
        lines = [f"[{record.relativeCreated / 1000:5.1f} s] {level}{message}"]
        if record.exc_info:
            lines.append(self.formatException(record.exc_info))
        return "\n".join(lines)


def paths_from(flags: Flags) -> Paths:
    """The folders the flags ask for.  Raises StartupError on one that is not there."""
    checkpoint = _checkpoint_file(flags)
    return standard_paths(
        Path(flags.data_dir).expanduser().resolve() if flags.data_dir else PROGRAM,
        checkpoint_dirs=(*_existing_folders("--ckpt-dir", flags.ckpt_dir), *((checkpoint.parent,) if checkpoint else ())),
        vae_dirs=_existing_folders("--vae-dir", flags.vae_dir),
        lora_dirs=_existing_folders("--lora-dir", flags.lora_dir),
        hypernetwork_dirs=_existing_folders("--hypernetwork-dir", flags.hypernetwork_dir),
        embedding_dirs=_existing_folders("--embeddings-dir", flags.embeddings_dir),
    )


def engine_options_from(flags: Flags) -> EngineOptions:
    """How the flags want the engine."""
    if flags.cpu or {"all", "sd"} & set(flags.use_cpu):
        device = "cpu"
    else:
        device = "auto" if flags.device_id is None else f"cuda:{flags.device_id}"
    precision = {"autocast": "auto"}.get(flags.precision, flags.precision)
    return EngineOptions(
        device=device,
        precision="full" if flags.no_half else precision,
        vae_precision="full" if flags.no_half_vae else "auto",
        memory="lowvram" if flags.lowvram else "medvram" if flags.medvram else "normal",
        deterministic=flags.deterministic,
    )


def settings_from(flags: Flags) -> Mapping[str, Any]:
    """The settings that flags stand for."""
    file = _checkpoint_file(flags)
    name = file.name if file else flags.ckpt
    return {"sd_model_checkpoint": name} if name else {}


def read_credentials(text: str | None, name: str) -> tuple[tuple[str, str], ...]:
    """Users and passwords from `user:password,user2:password2`.  Raises StartupError, which never repeats the text."""
    entries = [entry.strip() for line in (text or "").splitlines() for entry in line.split(",") if entry.strip()]
    pairs = [(user, password) for user, _, password in (entry.partition(":") for entry in entries)]
    for position, (user, password) in enumerate(pairs, start=1):
        if not user or not password:
            raise StartupError(f"{name} takes user:password, several with commas between; entry {position} of {len(pairs)} is not so.")
    return tuple(pairs)


def bind(host: str, port: int) -> socket.socket:
    """A socket on the port, or on the next free one of ten.  Port 0 is any free one."""
    for candidate in range(port, min(port + PORTS_TRIED, 65536)):
        try:
            return _bind_exactly(host, candidate)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                rule = f"Cannot serve on {host} port {candidate}: {error.strerror}."
                raise StartupError(f"{rule} Choose others with --server-name and --port.") from None
            log.warning("port %d is taken; trying the next", candidate)
    raise StartupError(f"No free port from {port} on; choose another with --port.")


class Server(uvicorn.Server):
    """Starts the app once the port answers, so that nobody waits for torch to see the page, and closes it last.

    url: where to tell the user to look.
    """

    def __init__(self, config: uvicorn.Config, app: App, *, url: str, open_browser: bool) -> None:
        super().__init__(config)
        self._app = app
        self._url = url
        self._open_browser = open_browser

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        log.info("port %s answers: %s", self._url.rpartition(":")[2], self._url)
        if self._open_browser:
            threading.Thread(target=webbrowser.open, args=(self._url,), daemon=True).start()
        await asyncio.to_thread(self._app.start)
        log.info("models, extensions and queue are read; the engine warms up")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        log.info("ending; unfinished jobs go back into the queue")
        # Streams still open after the time limit are cut, which is no error worth a traceback.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        # While connections drain, because requests that wait for a job are answered only when the queue lets them go.
        closing = asyncio.create_task(asyncio.to_thread(self._app.close))
        await super().shutdown(sockets)
        await closing


def _run(flags: Flags) -> None:
    for name in flags.unneeded:
        log.info("%s: accepted for A1111's sake; not needed here", name)
    for argument in flags.ignored:
        log.warning("%s: unknown, ignored because IGNORE_CMD_ARGS_ERRORS is set", argument.partition("=")[0])
    paths = paths_from(flags)
    _make_folders(paths)
    os.environ.update(OFFLINE)
    os.environ["GRADIO_TEMP_DIR"] = str(paths.state / "gradio")
    app = App(
        paths,
        command_line_settings=settings_from(flags),
        engine_options=engine_options_from(flags),
        safe_mode=flags.disable_all_extensions,
        extension_access=flags.enable_insecure_extension_access or _host(flags) in LOOPBACK,
        desktop=desktop_for(flags),
        hashing=not flags.no_hashing,
        watching=True,
    )
    try:
        app.load_extensions()
        _serve(app, flags)
    finally:
        app.close()


def _serve(app: App, flags: Flags) -> None:
    host = _host(flags)
    port = flags.port if flags.port is not None else 7861 if flags.nowebui else 7860
    _check_tls(flags)
    server = _build(app, flags, host)
    log.info("server built")
    listener = bind(host, port)
    scheme = "https" if flags.tls_certfile else "http"
    shown = f"[{host}]" if ":" in host else LOOPBACK[0] if host == "0.0.0.0" else host  # noqa: S104 - a comparison
    config = uvicorn.Config(
        server,
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,
        server_header=False,
        timeout_keep_alive=flags.timeout_keep_alive,
        timeout_graceful_shutdown=SECONDS_FOR_OPEN_CONNECTIONS,
        ssl_keyfile=flags.tls_keyfile,
        ssl_certfile=flags.tls_certfile,
    )
    url = f"{scheme}://{shown}:{listener.getsockname()[1]}"
    Server(config, app, url=url, open_browser=flags.autolaunch and not flags.nowebui).run(sockets=[listener])


def desktop_for(flags: Flags) -> Desktop:
    """Where folders are shown: on this machine's screen, if whoever uses the page sits in front of it."""
    return find_desktop() if _host(flags) in LOOPBACK and not flags.hide_ui_dir_config else Desktop()


def _host(flags: Flags) -> str:
    """The name or address to serve on."""
    return flags.server_name or ("0.0.0.0" if flags.listen else LOOPBACK[0])  # noqa: S104 - only by the user's own flag


def _build(app: App, flags: Flags, host: str) -> FastAPI:
    has_page, has_api = not flags.nowebui, flags.api or flags.nowebui
    ui_auth = read_credentials(flags.gradio_auth, "--gradio-auth") + _credentials_file(flags.gradio_auth_path)
    api_auth = read_credentials(flags.api_auth, "--api-auth")
    subpath = f"/{flags.subpath.strip('/')}" if flags.subpath else ""
    # The gate asks the page's users for the API too when the API has none of its own.
    warn_if_open(host, page=has_page and not ui_auth, api=has_api and not (api_auth or ui_auth))
    server = build_server(
        app,
        api=has_api,
        api_auth=api_auth,
        ui_auth=ui_auth,
        cors_origins=_split(flags.cors_allow_origins),
        cors_origin_regex=flags.cors_allow_origins_regex,
        flags=flags.as_dict(redact=True),
        allowed_hosts=_host_names(flags, host),
        api_log=flags.api_log,
        stop=partial(signal.raise_signal, signal.SIGTERM) if flags.api_server_stop else None,
    )
    server.root_path = subpath
    if has_page:
        # Not at the top of the file: with --nowebui gradio is never imported, which saves two seconds and 100 MB.
        from webui.ui.mount import mount_ui

        mount_ui(server, app, subpath=subpath, theme=flags.theme)
    return server


def _check_tls(flags: Flags) -> None:
    if bool(flags.tls_keyfile) != bool(flags.tls_certfile):
        raise StartupError("--tls-keyfile and --tls-certfile belong together; give both.")
    for file in (flags.tls_keyfile, flags.tls_certfile):
        if file and not Path(file).is_file():
            raise StartupError(f"There is no file {file!r}; --tls-keyfile and --tls-certfile take files.")


def warn_if_open(host: str, *, page: bool, api: bool) -> None:
    """Say so when others may come in without a password.  page, api: whether it is served without one."""
    if host in LOOPBACK or not (page or api):
        return
    what, flag = ("page", "--gradio-auth") if page else ("JSON API", "--api-auth")
    log.warning("everybody who can reach this machine may use the %s: serving on %s without %s", what, host, flag)


def _host_names(flags: Flags, host: str) -> tuple[str, ...]:
    """The names under which we answer besides the loopback ones; any address once we serve beyond loopback."""
    beyond = () if host in LOOPBACK else (host, socket.gethostname(), ANY_ADDRESS)
    return (*beyond, *_split(flags.allowed_hosts))


def _split(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def _credentials_file(path: str | None) -> tuple[tuple[str, str], ...]:
    if path is None:
        return ()
    try:
        return read_credentials(Path(path).expanduser().read_text(encoding="utf-8"), "--gradio-auth-path")
    except (OSError, UnicodeDecodeError) as error:
        raise StartupError(f"--gradio-auth-path: {path} cannot be read ({type(error).__name__}).") from None


def _checkpoint_file(flags: Flags) -> Path | None:
    """--ckpt as a file, when it is not the name of a checkpoint in one of the folders."""
    file = Path(flags.ckpt).expanduser().resolve() if flags.ckpt else None
    return file if file and file.is_file() else None


def _existing_folders(name: str, folders: Sequence[str]) -> tuple[Path, ...]:
    paths = tuple(Path(folder).expanduser().resolve() for folder in folders)
    for path in paths:
        if not path.is_dir():
            raise StartupError(f"{name} got {str(path)!r}; there is no such folder.")
    return paths


def _make_folders(paths: Paths) -> None:
    """Make the standard folders, so that a user sees where models go."""
    standard = (paths.checkpoints[0], paths.vaes[0], paths.loras[0], paths.embeddings[0], paths.extensions, paths.outputs, paths.state)
    try:
        for folder in standard:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StartupError(f"{error.filename} cannot be made ({error.strerror}). Choose another place with --data-dir.") from None


def _bind_exactly(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    listener = socket.socket(family, kind, protocol)
    # On Windows this option would let two programs share a port.
    if sys.platform != "win32":
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        # At once: until somebody listens, another program starting now could bind the same port.
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    """SIGTERM ends us as Ctrl-C does."""
    raise KeyboardInterrupt

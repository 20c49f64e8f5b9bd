"""The command line: every flag declared once, in A1111's names. Standard library only, so that `--help` answers at once.

A flag's field name is A1111's name for the value (its argparse dest), which `/sdapi/v1/cmd-flags` shows.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, NoReturn

REDACTED = "***"
LISTS = ("append", "extend")
# Words that, in the place of the first flag, have something else done than the program started.
COMMANDS = ("extensions",)


def flag(default: Any, help: str, *, group: str, also: tuple[str, ...] = (), secret: bool = False, **argument: Any) -> Any:
    """Declare a flag.

    also: other spellings.   secret: never shown again.   argument: what argparse's add_argument takes.
    Without `action` or `type`, a bool is a switch and a tuple a flag that may be given more than once.
    """
    if default is False:
        argument["action"] = "store_true"
    elif default == () and "action" not in argument:
        argument["action"] = "append"
    return field(default=default, metadata={"help": help, "group": group, "also": also, "secret": secret, "argument": argument})


def port_number(text: str) -> int:
    """A port, read from the command line."""
    if text.isdecimal() and int(text) < 65536:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no port; ports are 0 to 65535")


@dataclass(frozen=True)
class Flags:
    """The command line, read.

    command: "extensions" and the words behind it, which are not read here; without it the program is started.
    unneeded: flags of A1111's that were given and mean nothing here.   ignored: unknown arguments that
    IGNORE_CMD_ARGS_ERRORS let pass.
    """

    api: bool = flag(False, "serve the JSON API under /sdapi/v1", group="server")
    nowebui: bool = flag(False, "serve the JSON API only, without the page", group="server")
    port: int | None = flag(None, "port to serve on (7860, or 7861 with --nowebui); 0: any free one", group="server", type=port_number)
    listen: bool = flag(False, "let other machines in: serve on every address of this one", group="server")
    server_name: str | None = flag(None, "name or address to serve on", group="server")
    subpath: str | None = flag(None, "path under which a reverse proxy serves this program", group="server")
    tls_keyfile: str | None = flag(None, "TLS key, to serve https", group="server", metavar="FILE")
    tls_certfile: str | None = flag(None, "TLS certificate, to serve https", group="server", metavar="FILE")
    timeout_keep_alive: int = flag(30, "seconds an idle connection is kept", group="server", type=int, metavar="SECONDS")
    autolaunch: bool = flag(False, "open the page in the browser", group="server")
    theme: str | None = flag(None, "colours of the page", group="server", choices=("light", "dark"))
    api_server_stop: bool = flag(False, "let clients of the JSON API end the program", group="server")
    api_log: bool = flag(False, "log each request of the JSON API", group="server")

    gradio_auth: str | None = flag(None, "who may open the page", group="access", secret=True, metavar="USER:PASSWORD,...")
    gradio_auth_path: str | None = flag(None, "the same from a file, one or more a line", group="access", metavar="FILE")
    api_auth: str | None = flag(None, "who may use the JSON API", group="access", secret=True, metavar="USER:PASSWORD,...")
    allowed_hosts: str | None = flag(None, "further host names under which it is reached", group="access", metavar="NAME,...")
    cors_allow_origins: str | None = flag(None, "other sites whose pages may call this one", group="access", metavar="ORIGIN,...")
    cors_allow_origins_regex: str | None = flag(None, "the same as one regular expression", group="access", metavar="REGEX")

    data_dir: str | None = flag(None, "folder of models, pictures and settings", group="folders", metavar="DIR")
    ckpt: str | None = flag(None, "the checkpoint to begin with: a name or a file", group="folders", metavar="CHECKPOINT")
    ckpt_dir: tuple[str, ...] = flag((), "one more folder of checkpoints; may be repeated", group="folders", metavar="DIR")
    vae_dir: tuple[str, ...] = flag((), "one more folder of VAEs; may be repeated", group="folders", metavar="DIR")
    lora_dir: tuple[str, ...] = flag((), "one more folder of LoRAs; may be repeated", group="folders", metavar="DIR")
    hypernetwork_dir: tuple[str, ...] = flag((), "one more folder of hypernetworks; may be repeated", group="folders", metavar="DIR")
    embeddings_dir: tuple[str, ...] = flag((), "one more folder of embeddings; may be repeated", group="folders", metavar="DIR")
    no_hashing: bool = flag(False, "never compute the SHA-256 of models", group="folders")

    cpu: bool = flag(False, "draw on the CPU", group="drawing")
    use_cpu: tuple[str, ...] = flag(
        (), 'A1111\'s list of tasks for the CPU; "all" and "sd" mean --cpu', group="drawing",
        action="extend", nargs="+", type=str.lower, metavar="TASK",
    )  # fmt: skip
    device_id: int | None = flag(None, "number of the GPU to draw on", group="drawing", type=int, metavar="N")
    precision: str = flag("auto", "number format of the weights", group="drawing", choices=("auto", "half", "full", "autocast"))
    no_half: bool = flag(False, "the same as --precision full", group="drawing")
    no_half_vae: bool = flag(False, "full precision for the VAE alone", group="drawing")
    medvram: bool = flag(False, "use less GPU memory, a little slower", group="drawing")
    lowvram: bool = flag(False, "use much less GPU memory, much slower", group="drawing")
    deterministic: bool = flag(False, "a picture never depends on what else is being drawn", group="drawing")

    enable_insecure_extension_access: bool = flag(
        False, "let extensions be installed and changed also when other machines are let in", group="program"
    )
    hide_ui_dir_config: bool = flag(False, "offer nobody to open folders on this machine", group="program")
    disable_all_extensions: bool = flag(
        False, "start without extensions", group="program", also=("--safe-mode", "--disable-extra-extensions")
    )
    loglevel: str = flag("INFO", "how much is logged", group="program", choices=("DEBUG", "INFO", "WARNING", "ERROR"), type=str.upper)
    no_venv: bool = flag(False, "install into this Python, not into venv/", group="program")
    skip_install: bool = flag(False, "install nothing", group="program", also=("--skip-prepare-environment",))

    command: tuple[str, ...] = ()
    unneeded: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    def as_dict(self, *, redact: bool = True) -> dict[str, Any]:
        """The values by A1111's names.  redact: a secret that is set reads "***".  A folder flag is None, one folder, or a list."""
        return {declared.name: self._shown(declared.name, redact and declared.metadata["secret"]) for declared in _declared()}

    def _shown(self, name: str, hide: bool) -> Any:
        value = getattr(self, name)
        if hide:
            return None if value is None else REDACTED
        if name.endswith("_dir") and isinstance(value, tuple):
            return None if not value else value[0] if len(value) == 1 else list(value)
        return list(value) if isinstance(value, tuple) else value


# What A1111 needed and this program does not, with the number of values each takes.
UNNEEDED = MappingProxyType({
    "-f": 0, "--add-stop-route": 0, "--always-batch-cond-uncond": 0, "--deepdanbooru": 0, "--disable-console-progressbars": 0,
    "--disable-model-loading-ram-optimization": 0, "--disable-nan-check": 0, "--disable-opt-split-attention": 0,
    "--disable-safe-unpickle": 0, "--do-not-download-clip": 0, "--enable-console-prompts": 0, "--force-enable-xformers": 0,
    "--gradio-debug": 0, "--gradio-img2img-tool": 1, "--gradio-inpaint-tool": 1, "--gradio-queue": 0, "--log-startup": 0, "--lowram": 0,
    "--max-batch-count": 1, "--medvram-sdxl": 0, "--ngrok-region": 1, "--no-download-sd-model": 0, "--no-gradio-queue": 0,
    "--no-progressbar-hiding": 0, "--no-prompt-history": 0, "--opt-channelslast": 0, "--opt-sdp-attention": 0,
    "--opt-sdp-no-mem-attention": 0, "--opt-split-attention": 0, "--opt-split-attention-invokeai": 0, "--opt-split-attention-v1": 0,
    "--opt-sub-quad-attention": 0, "--show-negative-prompt": 0, "--skip-load-model-at-start": 0, "--skip-python-version-check": 0,
    "--skip-torch-cuda-test": 0, "--skip-version-check": 0, "--sub-quad-chunk-threshold": 1, "--sub-quad-kv-chunk-size": 1,
    "--sub-quad-q-chunk-size": 1, "--unload-gfpgan": 0, "--upcast-sampling": 0, "--use-textbox-seed": 0, "--xformers": 0,
    "--xformers-flash-attention": 0,
})  # fmt: skip


def parse_flags(argv: Sequence[str], environ: Mapping[str, str] = os.environ) -> Flags:
    """Read the command line, and COMMANDLINE_ARGS after it.

    Ends the process as argparse does: 0 after --help, 2 after a sentence that names what is wrong.
    """
    parser = _build_parser()
    try:
        more = shlex.split(environ.get("COMMANDLINE_ARGS", ""))
    except ValueError as error:
        parser.error(f"COMMANDLINE_ARGS cannot be read: {error}")
    if argv and argv[0] in COMMANDS:
        return _parse_command(argv, more)
    arguments, unneeded = _without_unneeded([*argv, *more])
    values, unknown = parser.parse_known_args(arguments)
    if unknown and not environ.get("IGNORE_CMD_ARGS_ERRORS"):
        parser.error(_describe_unknown(unknown))
    return Flags(**_read(values), unneeded=unneeded, ignored=tuple(unknown))


def _parse_command(argv: Sequence[str], more: Sequence[str]) -> Flags:
    """Take the program's flags (--data-dir, --no-venv, ...) from among a command's words, and COMMANDLINE_ARGS besides."""
    parser = _build_parser(helps=False)
    values, words = parser.parse_known_args(list(argv[1:]))
    values, _ = parser.parse_known_args(_without_unneeded(more)[0], values)
    return Flags(**_read(values), command=(argv[0], *words))


def _read(values: argparse.Namespace) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in vars(values).items()}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One sentence instead of argparse's page of usage."""
        print(f"{message[:1].upper()}{message[1:].rstrip('.')}. All flags: python launch.py --help", file=sys.stderr)
        raise SystemExit(2)


def _build_parser(*, helps: bool = True) -> _Parser:
    parser = _Parser(
        prog="launch.py",
        usage="python launch.py [flags]\n       python launch.py extensions install|list|update|enable|disable|remove|new",
        description="A Stable Diffusion web UI and JSON API. COMMANDLINE_ARGS in the environment is read after the flags.",
        epilog="Flags that only A1111 needed (--xformers, --opt-..., ...) are accepted and do nothing.",
        allow_abbrev=False,
        add_help=helps,
    )
    groups = {}
    for declared in _declared():
        meta = declared.metadata
        if meta["group"] not in groups:
            groups[meta["group"]] = parser.add_argument_group(meta["group"])
        group, argument = groups[meta["group"]], meta["argument"]
        default = [] if argument.get("action") in LISTS else declared.default
        group.add_argument(*_spellings(declared), dest=declared.name, default=default, help=meta["help"], **argument)
    return parser


def _declared() -> Iterable[Any]:
    return (declared for declared in fields(Flags) if declared.metadata)


def _spellings(declared: Any) -> tuple[str, ...]:
    return ("--" + declared.name.replace("_", "-"), *declared.metadata["also"])


def _without_unneeded(arguments: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """Take A1111's own flags out, with their values."""
    kept, unneeded, rest = [], [], iter(arguments)
    for argument in rest:
        name, equals, _ = argument.partition("=")
        if name not in UNNEEDED:
            kept.append(argument)
            continue
        unneeded.append(name)
        for _ in range(0 if equals else UNNEEDED[name]):
            next(rest, None)
    return kept, tuple(unneeded)


def _describe_unknown(unknown: Sequence[str]) -> str:
    known = [name for declared in _declared() for name in _spellings(declared)] + list(UNNEEDED)
    first = next((argument for argument in unknown if argument.startswith("-")), unknown[0]).split("=")[0]
    if not first.startswith("-"):
        return f"{first!r} is no flag; flags begin with --"
    near = get_close_matches(first.lower(), known, n=1, cutoff=0.0)
    return f"Unknown flag {first!r}; the nearest one is {near[0]!r}"

"""Which control models there are, the names clients know them by, and which checkpoints each can steer."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from webui.catalog.control_families import CONTROL, control_refusal
from webui.catalog.identify import PICKLE_SUFFIXES, Identity
from webui.catalog.scan import Broken, ModelFile, scan
from webui.core.errors import InvalidRequest, ModelError, NotFound, UnknownName

# The name that diffusers gives the only weights of a folder, which is then what the model is called by.
DIFFUSERS = "diffusion_pytorch_model"
_WITH_HASH = re.compile(r"(?P<name>.*?)\s*\[[^\[\]]*\]", re.DOTALL)
_WORDS: Mapping[str, str] = MappingProxyType({"sd1": "SD 1.x", "sd2": "SD 2.x", "sdxl": "SDXL"})


@dataclass(frozen=True)
class ControlFile(ModelFile):
    """A control model.  called: its name without suffix.   title: that, with eight digits of a hash as sd-webui-controlnet has it."""

    called: str
    title: str
    identity: Identity = field(compare=False)

    @property
    def base(self) -> str:
        """The family it is for, "sd1", "sd2" or "sdxl"; "" where its size is no known family's."""
        return self.identity.family.removeprefix(CONTROL).removeprefix("-")


@dataclass(frozen=True)
class Controls:
    """All of them at one moment, in natural order.  folder: where to put one."""

    files: tuple[ControlFile, ...] = ()
    broken: tuple[Broken, ...] = ()
    folder: Path = Path("models/ControlNet")

    def find(self, name: str) -> ControlFile:
        """By title, name or file name, whatever the case and the hash.

        Raises NotFound where there is none at all, UnknownName with the nearest, InvalidRequest with the reason for a file that
        cannot be used.
        """
        wanted = name.strip()
        bracketed = _WITH_HASH.fullmatch(wanted)
        for text in (wanted, bracketed["name"] if bracketed else wanted):
            for file in self.files:
                if text.lower() in {one.lower() for one in (file.title, file.called, file.name, file.path.name)}:
                    return file
            for broken in self.broken:
                if text in (broken.name, broken.path.name, broken.path.stem):
                    raise InvalidRequest(f"{broken.name} {broken.reason}.")
        if not self.files:
            raise NotFound(f"There is no control model. Put one into {self.folder} and refresh.")
        raise UnknownName("control model", name, [file.title for file in self.files])


def list_controls(
    folders: Sequence[Path], identify: Callable[[ModelFile], Identity], legacy_hash: Callable[[ModelFile], str | None]
) -> Controls:
    """Look into the folders.  identify: of a file, or what was noted of it.   legacy_hash: A1111's old eight digits, if there are any."""
    found = scan(folders, frozenset({".safetensors", *PICKLE_SUFFIXES}))
    files: list[ControlFile] = []
    broken = list(found.broken)
    for file in found.files:
        try:
            identity = identify(file)
            reason = control_refusal(identity.family)
        except ModelError as error:
            reason = str(error)
        if reason is not None:
            broken.append(Broken(file.name, file.path, reason))
            continue
        digits, called = legacy_hash(file), _called(file, folders)
        title = f"{called} [{digits}]" if digits else called
        files.append(ControlFile(**vars(file), called=called, title=title, identity=identity))
    return Controls(tuple(files), tuple(broken), *folders[:1])


def check_fit(control: ControlFile, checkpoint: str, family: str) -> None:
    """family: the checkpoint's.  Raises InvalidRequest naming both when one cannot steer the other."""
    base = {"ip2p": "sd1"}.get(family, family.partition("-")[0])
    if control.base and base in _WORDS and control.base != base:
        raise InvalidRequest(
            f"The control model {control.title!r} is for {_WORDS[control.base]}, but the checkpoint {checkpoint!r} is of {_WORDS[base]}. "
            f"Choose a control model for {_WORDS[base]}, or another checkpoint."
        )


def _called(file: ModelFile, folders: Sequence[Path]) -> str:
    if file.stem.startswith(DIFFUSERS) and file.path.parent not in folders:
        return file.path.parent.name + file.stem.removeprefix(DIFFUSERS)
    return file.stem

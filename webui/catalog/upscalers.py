"""Which upscalers and face restorers there are, in A1111's folders and under A1111's names."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from types import MappingProxyType

from webui.catalog.scan import Broken, ModelFile, natural_key, scan
from webui.core.errors import InvalidRequest, ModelError, NotFound, UnknownName
from webui.core.upscalers import FACE_RESTORERS, OWN_UPSCALERS, FaceFiles, Upscaler

UPSCALER_FOLDERS = ("ESRGAN", "RealESRGAN", "BSRGAN", "SwinIR", "DAT", "HAT", "ScuNET", "SPAN", "upscale_models")
UPSCALER_SUFFIXES = frozenset({".safetensors", ".pth", ".pt", ".ckpt"})
DETECTOR_FOLDER, DETECTOR_SUFFIXES = "FaceDetection", frozenset({".onnx"})
FACE_FOLDERS: Mapping[str, str] = MappingProxyType({"CodeFormer": "Codeformer", "GFPGAN": "GFPGAN"})
# Its licence forbids commercial use, so that it is not installed with the rest.
CODEFORMER_PACKAGE = "spandrel_extra_arches"

# A1111's names of files that it fetches itself, by the file's name in lower case without suffix.
_NAMES: Mapping[str, str] = MappingProxyType({
    "realesrgan_x4plus": "R-ESRGAN 4x+",
    "realesrgan_x4plus_anime_6b": "R-ESRGAN 4x+ Anime6B",
    "realesrgan_x2plus": "R-ESRGAN 2x+",
    "realesr-general-x4v3": "R-ESRGAN General 4xV3",
    "realesr-general-wdn-x4v3": "R-ESRGAN General WDN 4xV3",
    "realesr-animevideov3": "R-ESRGAN AnimeVideo",
    "dat_x2": "DAT x2",
    "dat_x3": "DAT x3",
    "dat_x4": "DAT x4",
    "swinir_4x": "SwinIR 4x",
    "scunet": "ScuNET GAN",
    "scunet_psnr": "ScuNET PSNR",
})  # fmt: skip
_SCALE = re.compile(r"(?<![0-9a-z])(?:x([1-8])|([1-8])x)(?![0-9])|_x([1-8])", re.IGNORECASE)


@dataclass(frozen=True)
class Upscalers:
    """All of them at one moment.

    files: those with weights, in natural order of their names.   restorers: files of faces' restorers, by A1111's name.
    detectors: files that find faces.   added: those of extensions.   broken: files that cannot be used, with the reason.
    """

    files: tuple[Upscaler, ...] = ()
    restorers: tuple[tuple[str, Path], ...] = ()
    detectors: tuple[Path, ...] = ()
    broken: tuple[Broken, ...] = ()
    added: tuple[Upscaler, ...] = ()

    @property
    def all(self) -> tuple[Upscaler, ...]:
        """Those that need no file, then the files, then those of extensions."""
        return (*(Upscaler(name) for name in OWN_UPSCALERS), *self.files, *self.added)

    @property
    def by_name(self) -> Mapping[str, Upscaler]:
        """All, by name."""
        return {upscaler.name: upscaler for upscaler in self.all}

    def find(self, name: str) -> Upscaler:
        """The upscaler of that name, or of a file of that name.

        Raises UnknownName with the nearest names, InvalidRequest with the reason when the file is there but cannot be used.
        """
        found = self.by_name.get(name)
        of_file = (one for one in self.files if one.path and name in (one.path.name, one.path.stem))
        if found := found or next(of_file, None):
            return found
        for broken in self.broken:
            if name in (broken.name, broken.path.name, broken.path.stem):
                raise InvalidRequest(f"{broken.name} {broken.reason}.")
        raise UnknownName("upscaler", name, [one.name for one in self.all])

    def restorer(self, name: str) -> Path | None:
        """The file of a face restorer, if there is one."""
        return dict(self.restorers).get(name)

    def face_files(self, names: Sequence[str], models: Path) -> FaceFiles | None:
        """What mending faces by these restorers needs; None for none.   models: the folder to name when something is missing.

        Raises UnknownName, and NotFound saying what to put where.
        """
        if not names:
            return None
        missing = [sentence for name in names if (sentence := self._missing(name, models))]
        if not self.detectors:
            missing.append(
                f"To find faces, put OpenCV's face_detection_yunet_2023mar.onnx into {models / DETECTOR_FOLDER}; "
                "it is in OpenCV's model zoo, opencv/opencv_zoo."
            )
        if missing:
            raise NotFound(" ".join(missing))
        return FaceFiles(self.detectors[-1], tuple((name, path) for name in names if (path := self.restorer(name))))

    def _missing(self, name: str, models: Path) -> str | None:
        if name not in FACE_RESTORERS:
            raise UnknownName("face restorer", name, FACE_RESTORERS)
        if name == "CodeFormer" and importlib.util.find_spec(CODEFORMER_PACKAGE) is None:
            return (
                f"CodeFormer needs the package {CODEFORMER_PACKAGE}, whose licence forbids commercial use, so it is not installed here. "
                f"If that suits you, install it with: pip install {CODEFORMER_PACKAGE}. Otherwise use GFPGAN."
            )
        if self.restorer(name) is None:
            file = "codeformer-v0.1.0.pth" if name == "CodeFormer" else "GFPGANv1.4.pth"
            return f"There is no file for {name}. Put {file} into {models / FACE_FOLDERS[name]} and refresh."
        return None


def list_upscalers(models: Path, identify: Callable[[ModelFile], object], *, shipped: Path | None = None) -> Upscalers:
    """Look into the folders below `models`, then below what ships with the program.

    identify: raises ModelError for a safetensors file that cannot be used.
    """
    broken: list[Broken] = []
    found: list[Upscaler] = []
    taken = set(OWN_UPSCALERS)
    roots = dict.fromkeys((models, shipped or models))
    for root, folder in product(roots, UPSCALER_FOLDERS):
        for file in _usable(root / folder, UPSCALER_SUFFIXES, identify, broken):
            name = _NAMES.get(file.stem.lower(), file.stem)
            if name in taken:
                name = f"{folder}/{file.name}"
            taken.add(name)
            found.append(Upscaler(name, file.path, folder, _scale(file.stem)))
    restorers = {
        name: files[-1].path
        for name, folder in FACE_FOLDERS.items()
        if (files := _usable(models / folder, UPSCALER_SUFFIXES, identify, broken, prefix=name.lower()))
    }
    detectors = scan([models / DETECTOR_FOLDER], DETECTOR_SUFFIXES).files
    return Upscalers(
        tuple(sorted(found, key=lambda one: natural_key(one.name))),
        tuple(restorers.items()),
        tuple(file.path for file in detectors),
        tuple(broken),
    )


def _usable(
    folder: Path, suffixes: frozenset[str], identify: Callable[[ModelFile], object], broken: list[Broken], *, prefix: str = ""
) -> list[ModelFile]:
    """The files in a folder whose names begin so, in natural order; those that cannot be used go to `broken`."""
    walked = scan([folder], suffixes)
    broken.extend(walked.broken)
    return [file for file in walked.files if file.stem.lower().startswith(prefix) and _is_sound(file, identify, broken)]


def _is_sound(file: ModelFile, identify: Callable[[ModelFile], object], broken: list[Broken]) -> bool:
    if file.path.suffix.lower() != ".safetensors":
        return True  # looked at when it is converted, by a process of its own
    try:
        identify(file)
    except ModelError as error:
        broken.append(Broken(file.name, file.path, str(error)))
        return False
    return True


def _scale(stem: str) -> int:
    """What a file's name says of its scale, A1111's 4 where it says nothing."""
    found = _SCALE.search(stem)
    return int(next(filter(None, found.groups()))) if found else 4

"""Which LoRAs, textual inversions and hypernetworks there are, and what a prompt's names for them mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from webui.catalog import embedding_images
from webui.catalog.embedding_images import read_image_embedding
from webui.catalog.families import EMBEDDING, PICTURE, UNKNOWN, embedding_refusal, family_of_names, hypernetwork_refusal, lora_refusal
from webui.catalog.identify import NOT_REGULAR, PICKLE_SUFFIXES, Identity, identify
from webui.catalog.scan import Broken, ModelFile, natural_key, scan
from webui.catalog.torch_zip import check_torch_zip
from webui.core.errors import ModelError
from webui.core.paths import Paths

LORA_SUFFIXES = frozenset({".safetensors", ".pt", ".ckpt"})
EMBEDDING_SUFFIXES = frozenset({".safetensors", ".pt", ".bin", *embedding_images.SUFFIXES})
HYPERNETWORK_SUFFIXES = frozenset({".pt"})

# Names that A1111 keeps for itself, so that no metadata can take them.
_FORBIDDEN_ALIASES = frozenset({"none", "addams"})
_ZIP = b"PK\x03\x04"

Found = TypeVar("Found", bound=ModelFile)


@dataclass(frozen=True)
class Lora(ModelFile):
    """A file of the LoRA family.  alias: the name its trainer gave it, else the file's."""

    alias: str
    identity: Identity = field(compare=False)

    @property
    def made_for(self) -> str:
        """ "sd1", "sd2" or "sdxl" as the metadata has it, "" when it says nothing."""
        metadata = self.identity.metadata
        if metadata.get("ss_base_model_version", "").startswith("sdxl_"):
            return "sdxl"
        if metadata.get("ss_v2") == "True":
            return "sd2"
        return "sd1" if "ss_base_model_version" in metadata or "ss_v2" in metadata else ""


@dataclass(frozen=True)
class EmbeddingFile(ModelFile):
    """A textual inversion.  word: what stands for it in a prompt."""

    word: str


@dataclass(frozen=True)
class Adapters:
    """All of them at one moment, each list in natural order.

    lora_names: by every name that means a LoRA, file names without suffix and unambiguous aliases.
    """

    loras: tuple[Lora, ...] = ()
    embeddings: tuple[EmbeddingFile, ...] = ()
    hypernetworks: tuple[ModelFile, ...] = ()
    broken: tuple[Broken, ...] = ()
    lora_names: Mapping[str, Lora] = field(default_factory=dict, compare=False)

    def find_lora(self, name: str) -> Lora | None:
        """By file name without suffix, alias, or path below the folder; case counts, as in A1111."""
        return self.lora_names.get(name) or _by_path(name, self.loras)

    def find_embedding(self, name: str) -> EmbeddingFile | None:
        """By its word; of several the last, as in A1111."""
        return next((file for file in reversed(self.embeddings) if file.word == name), None) or _by_path(name, self.embeddings)

    def find_hypernetwork(self, name: str) -> ModelFile | None:
        """By file name without suffix; of several the last, as in A1111."""
        return next((file for file in reversed(self.hypernetworks) if file.stem == name), None) or _by_path(name, self.hypernetworks)


def list_adapters(paths: Paths, identify: Callable[[ModelFile], Identity]) -> Adapters:
    """Look into the folders.  identify: `identify_adapter` of a file, or what was noted of it."""
    broken: list[Broken] = []

    def usable(
        folders: Iterable[Path], suffixes: frozenset[str], refusal: Callable[[Identity], str | None]
    ) -> list[tuple[ModelFile, Identity]]:
        found = scan(folders, suffixes)
        broken.extend(found.broken)
        good = []
        for file in found.files:
            try:
                identity = identify(file)
                reason = refusal(identity)
            except ModelError as error:
                reason = str(error)
            if reason is None:
                good.append((file, identity))
            else:
                broken.append(Broken(file.name, file.path, reason))
        return good

    loras = [
        Lora(**vars(file), alias=identity.metadata.get("ss_output_name") or file.stem, identity=identity)
        for file, identity in usable(paths.loras, LORA_SUFFIXES, lambda identity: lora_refusal(identity.family))
    ]
    embeddings = [
        EmbeddingFile(**vars(file), word=identity.metadata.get("name") or file.stem)
        for file, identity in usable(paths.embeddings, EMBEDDING_SUFFIXES, _refuse_embedding)
        if identity.family != PICTURE
    ]
    hypernetworks = [
        file
        for file, _ in usable(paths.hypernetworks, HYPERNETWORK_SUFFIXES, lambda identity: hypernetwork_refusal(identity.family))
        if file.stem != "None"  # A1111's word for none
    ]
    return Adapters(tuple(loras), tuple(embeddings), tuple(hypernetworks), tuple(sorted(broken, key=_order)), name_loras(loras))


def identify_adapter(path: Path) -> Identity:
    """What a file in one of these folders is.  Raises ModelError, whose text goes on after the file's name."""
    suffix = path.suffix.lower()
    try:
        if suffix in embedding_images.SUFFIXES:
            return _identify_picture(path)
        if suffix in PICKLE_SUFFIXES:
            return _identify_pickle(path)
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror}") from None
    return identify(path)


def name_loras(loras: Sequence[Lora]) -> dict[str, Lora]:
    """Every name that means a LoRA. A1111's rules: the later file has a name that two have, and an alias that is also another's
    name or alias means neither, so that only file names are left."""
    stems = {lora.stem: lora for lora in loras}
    names: dict[str, Lora] = {}
    forbidden = set(_FORBIDDEN_ALIASES)
    for lora in loras:
        if lora.alias in names:
            forbidden.add(lora.alias.lower())
        names |= {lora.stem: lora, lora.alias: lora}
    return {name: lora for name, lora in names.items() if name.lower() not in forbidden} | stems


def _identify_picture(path: Path) -> Identity:
    """A picture with an embedding in it, or one that only shows something."""
    # Previews are many, and looking for hidden pixels is slow; these names say that they are previews.
    if path.stem.lower().endswith(".preview") or any(path.with_suffix(suffix).exists() for suffix in (".pt", ".bin", ".safetensors")):
        return Identity(PICTURE, {}, 0)
    content = read_image_embedding(path)
    if content is None:
        return Identity(PICTURE, {}, 0)
    name = content.get("name")
    return Identity(EMBEDDING, {"name": name} if isinstance(name, str) and name else {}, 1)


def _identify_pickle(path: Path) -> Identity:
    if not path.is_file():
        raise ModelError(NOT_REGULAR)
    with path.open("rb") as file:
        if file.read(len(_ZIP)) == _ZIP:
            content = check_torch_zip(file)
            return Identity(family_of_names(content.texts, content.storages), {}, content.storages)
        file.seek(8)
        if file.read(1) == b"{":
            raise ModelError(f"holds safetensors data under the suffix {path.suffix.lower()}; rename it to .safetensors")
    raise ModelError("is no file that PyTorch 1.6 or later has written; convert it to .safetensors")


def _refuse_embedding(identity: Identity) -> str | None:
    # diffusers writes a word's vectors as the only tensor of a file, under any name. Pictures beside embeddings are no fault.
    is_one = identity.family == PICTURE or (identity.family == UNKNOWN and identity.tensors == 1)
    return None if is_one else embedding_refusal(identity.family)


def _by_path(name: str, files: Sequence[Found]) -> Found | None:
    """By the path below the folder, with or without suffix."""
    name = name.replace("\\", "/")
    return next((file for file in files if name in (file.name, file.name.removesuffix(file.path.suffix))), None)


def _order(file: Broken) -> tuple[object, ...]:
    return natural_key(file.name)

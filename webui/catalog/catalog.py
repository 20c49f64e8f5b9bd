"""Which models there are. Owner of the model index: lists, names, hashes; it never loads one."""

from __future__ import annotations

import json
import logging
import os
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

from webui.catalog.adapters import Adapters, EmbeddingFile, Lora, identify_adapter, list_adapters
from webui.catalog.aliases import find_closest, find_exactly, title_of
from webui.catalog.controls import Controls, list_controls
from webui.catalog.defaults import read_defaults
from webui.catalog.depth_models import find_depth_model
from webui.catalog.diffusers_folder import identify_checkpoint, with_added_family
from webui.catalog.families import checkpoint_refusal, vae_refusal
from webui.catalog.hashes import BackgroundHashing, addnet_hash_of, as_it_is_now, legacy_hash_of, sha256_of
from webui.catalog.identify import PICKLE_SUFFIXES, Identity
from webui.catalog.index import Index
from webui.catalog.listing import Checkpoint, Listing
from webui.catalog.scan import Broken, ModelFile, RealPaths, named_apart, natural_key, scan
from webui.catalog.sidecars import read_notes
from webui.catalog.upscalers import Upscalers, list_upscalers
from webui.core.errors import InvalidRequest, ModelError, NotFound, UnknownName
from webui.core.extension_points import NewFamily
from webui.core.paths import Paths
from webui.core.upscalers import FaceFiles, Upscaler

__all__ = ["Broken", "Catalog", "Checkpoint", "EmbeddingFile", "Identity", "Lora", "ModelFile", "Upscalers"]

log = logging.getLogger(__name__)

Found = TypeVar("Found", bound=ModelFile)

SUFFIXES = frozenset({".safetensors", *PICKLE_SUFFIXES})
# Raised whenever identify() begins to answer differently, so that what older versions noted is not believed.
IDENTITY = "identity-4"
ADAPTER_IDENTITY = "adapter-1"
SHA256, ADDNET = "sha256", "addnet"
ADAPTER_HASH_DIGITS = 12

_HASH = re.compile(r"[0-9a-f]{12,64}", re.IGNORECASE)


class Catalog:
    """The models in the model folders. Every method may be called from any thread; answers are snapshots.

    hashing: False computes no hash at all (A1111's --no-hashing); hashes noted earlier are still known.
    """

    def __init__(self, paths: Paths, *, hashing: bool = True) -> None:
        self._paths = paths
        self._hashing = hashing
        self._index = Index(paths.state / "catalog.sqlite")
        self._known: Listing | None = None
        self._added_upscalers: tuple[Upscaler, ...] = ()
        self._added_families: tuple[NewFamily, ...] = ()
        self._refreshing = threading.Lock()
        self._hashing_now: dict[Path, threading.Lock] = {}
        self._background = BackgroundHashing(self._without_hash, lambda file, stop: self._compute_hash(file, _hash_kind(file), stop))

    @property
    def paths(self) -> Paths:
        """The folders it looks into."""
        return self._paths

    def refresh(self) -> None:
        """Look again at what is in the folders. Headers of unchanged files are not read again."""
        with self._refreshing:
            self._look()
        self._background.wake()

    @property
    def _listing(self) -> Listing:
        """What was found last. Who asks before anybody has looked, as a request that comes while the program starts, looks first."""
        if self._known is None:
            with self._refreshing:
                return self._known or self._look()
        return self._known

    def _look(self) -> Listing:
        before, self._known = self._known or Listing(), self._scan()
        for broken in self._known.all_broken:
            if broken not in before.all_broken:
                log.warning("%s %s.", broken.name, broken.reason)
        return self._known

    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """Those that can draw, in natural order."""
        return self._listing.checkpoints

    def broken(self) -> tuple[Broken, ...]:
        """Files that cannot be used, each with its reason."""
        return self._listing.all_broken

    @property
    def listing_version(self) -> object:
        """Another object after each look into the folders."""
        return self._listing

    def vaes(self) -> tuple[ModelFile, ...]:
        """VAE files, in natural order."""
        return self._listing.vaes

    def loras(self) -> tuple[Lora, ...]:
        """Files of the LoRA family, in natural order."""
        return self._listing.adapters.loras

    def lora_named(self, name: str) -> Lora | None:
        """The one that a prompt's <lora:name> means now, without another look into the folders."""
        return self._listing.adapters.find_lora(name)

    def embeddings(self) -> tuple[EmbeddingFile, ...]:
        """Textual inversions, in natural order."""
        return self._listing.adapters.embeddings

    def hypernetworks(self) -> tuple[ModelFile, ...]:
        """Hypernetworks, in natural order."""
        return self._listing.adapters.hypernetworks

    def depth_model(self) -> Path | None:
        """What estimates depth for checkpoints that have no depth model inside."""
        return find_depth_model(self._paths.depth_models)

    def controls(self) -> Controls:
        """ControlNets."""
        return self._listing.controls

    @property
    def upscalers(self) -> Upscalers:
        """Upscalers and face restorers."""
        return replace(self._listing.upscalers, added=self._added_upscalers)

    def add(self, *, upscalers: Iterable[Upscaler] = (), families: Iterable[NewFamily] = ()) -> None:
        """Know what extensions add too, from the next refresh on: upscalers that are no files, and kinds of checkpoints."""
        self._added_upscalers, self._added_families = tuple(upscalers), tuple(families)

    def face_files(self, names: Sequence[str]) -> FaceFiles | None:
        """What mending faces by these restorers needs; None for none.  Raises UnknownName, and NotFound saying what to put where."""
        return self._listing.upscalers.face_files(names, self._paths.models)

    def find_checkpoint(self, name: str, *, closest: bool = True) -> Checkpoint:
        """The checkpoint meant by any name A1111 accepts; "" is the default one.

        closest: also take one whose title contains the name. Right for names from outside (old infotexts); a name that was
        chosen here must not quietly come to mean another file when its own is gone.
        Raises UnknownName with the nearest names, InvalidRequest with the reason when the file is there but cannot be used.
        """
        if not name.strip():
            return self.default_checkpoint()
        listing = self._listing
        found = find_exactly(name, listing.checkpoints, sha256=self.known_sha256, legacy=self._legacy_hash)
        if found:
            return found
        self._refuse_broken(name, listing.broken)
        if closest and (near := find_closest(name, listing.checkpoints, sha256=self.known_sha256)):
            return near
        raise UnknownName("checkpoint", name, [file.name for file in listing.checkpoints])

    def default_checkpoint(self) -> Checkpoint:
        """The first checkpoint of the user's own, else the demo model.  Raises NotFound saying where to put one."""
        checkpoints = self._listing.checkpoints
        shipped = [os.path.realpath(path) for path in self._paths.demo_family]
        # All of the user's own come before what ships, and that is in the family's order.
        places = [shipped.index(real) if (real := os.path.realpath(file.path)) in shipped else -1 for file in checkpoints]
        found = checkpoints[places.index(min(places))] if checkpoints else None
        if found is None:
            raise NotFound(f"There is no checkpoint. Put an SD 1.x .safetensors file into {self._paths.checkpoints[0]} and refresh.")
        return found

    def find_vae(self, setting: str, checkpoint: Checkpoint) -> ModelFile | None:
        """The VAE file to use with a checkpoint; None for the checkpoint's own.

        setting: "Automatic" (the one in the checkpoint's notes, else a file named like it), "None", or a file's name.
        Raises UnknownName.
        """
        vaes = self._listing.vaes
        own = read_notes(checkpoint.path).vae if setting in ("", "Automatic") else ""
        setting = own if own == "None" or own in {vae.name for vae in vaes} else setting
        if setting == "None":
            return None
        if setting in ("", "Automatic"):
            same = (checkpoint.stem, f"{checkpoint.stem}.vae")
            near = [vae for vae in vaes if vae.stem.startswith(checkpoint.stem)]
            return min(near, key=lambda vae: (vae.stem.lower() not in map(str.lower, same), len(vae.stem)), default=None)
        for vae in vaes:
            if setting in (vae.name, vae.path.name, vae.stem, vae.model_name):
                return vae
        self._refuse_broken(setting, self._listing.broken)
        raise UnknownName("VAE", setting, ["Automatic", "None", *(vae.name for vae in vaes)])

    def find_lora(self, name: str) -> Lora:
        """The LoRA that <lora:name> means: a file's name without suffix, or an alias that is one file's alone.

        Raises NotFound with the nearest names, InvalidRequest with the reason when the file is there but cannot be used.
        """
        return self._find_adapter("LoRA", name, self._paths.loras, lambda adapters: (adapters.find_lora(name), adapters.lora_names))

    def find_embedding(self, name: str) -> EmbeddingFile:
        """The textual inversion with this word.  Errors as of find_lora."""

        def find(adapters: Adapters) -> tuple[EmbeddingFile | None, Iterable[str]]:
            return adapters.find_embedding(name), [file.word for file in adapters.embeddings]

        return self._find_adapter("embedding", name, self._paths.embeddings, find)

    def find_hypernetwork(self, name: str) -> ModelFile:
        """The hypernetwork that <hypernet:name> means: a file's name without suffix.  Errors as of find_lora."""

        def find(adapters: Adapters) -> tuple[ModelFile | None, Iterable[str]]:
            return adapters.find_hypernetwork(name), [file.stem for file in adapters.hypernetworks]

        return self._find_adapter("hypernetwork", name, self._paths.hypernetworks, find)

    def _find_adapter(
        self, kind: str, name: str, folders: Iterable[Path], find: Callable[[Adapters], tuple[Found | None, Iterable[str]]]
    ) -> Found:
        """find: the file, if there is one, and the names there are.

        What is not there is looked for in the folders once more, as in A1111: files are often added while it runs.
        """
        found, _ = find(self._listing.adapters)
        if found is None:
            self.refresh()
            found, names = find(self._listing.adapters)
        if found is None:
            broken = self._listing.adapters.broken
            self._refuse_broken(name, [file for file in broken if any(file.path.is_relative_to(folder) for folder in folders)])
            raise NotFound(str(UnknownName(kind, name, names)))
        return found

    def _refuse_broken(self, name: str, files: Iterable[Broken]) -> None:
        for broken in files:
            if name in (broken.name, broken.path.name, broken.path.stem):
                raise InvalidRequest(f"{broken.name} {broken.reason}.")

    def sha256(self, file: ModelFile) -> str:
        """The hash of the file as it is on disk now; "" when hashing is off.  Raises ModelError when it cannot be read."""
        return self._hash_now(file, SHA256)

    def known_sha256(self, file: ModelFile) -> str | None:
        """The hash if it has been computed before; never waits."""
        return self._index.get(file, SHA256)

    def lora_hash(self, lora: Lora) -> str:
        """The 12 digits that infotexts carry: what the metadata says, else kohya's hash; for pickles the sha256. Otherwise as sha256."""
        said = lora.identity.metadata.get("sshs_model_hash", "")
        # Taken from the file only if it is a hash: it is going to stand in infotexts.
        return (said if _HASH.fullmatch(said) else self._hash_now(lora, _hash_kind(lora)))[:ADAPTER_HASH_DIGITS]

    def known_lora_hash(self, lora: Lora) -> str:
        """As `lora_hash`, but never waits: "" until it has been computed."""
        said = lora.identity.metadata.get("sshs_model_hash", "")
        return (said if _HASH.fullmatch(said) else self._index.get(lora, _hash_kind(lora)) or "")[:ADAPTER_HASH_DIGITS]

    def embedding_hash(self, file: EmbeddingFile) -> str:
        """The 12 digits of the sha256 that infotexts carry. Otherwise as sha256."""
        return self._hash_now(file, SHA256)[:ADAPTER_HASH_DIGITS]

    def _hash_now(self, file: ModelFile, kind: str) -> str:
        try:
            return self._index.get(as_it_is_now(file), kind) or self._compute_hash(file, kind)
        except OSError as error:
            raise ModelError(f"{file.name} cannot be read: {error.strerror}. Refresh the list of models.") from None

    def title(self, checkpoint: Checkpoint) -> str:
        """A1111's title: "name [10 hex digits]", or the name alone until it is hashed."""
        return title_of(checkpoint, self.known_sha256(checkpoint))

    def defaults(self, checkpoint: Checkpoint) -> dict[str, Any]:
        """Values of GenerationRequest fields that fit this checkpoint."""
        own = read_notes(checkpoint.path).defaults
        return read_defaults(checkpoint.name, checkpoint.identity.metadata, checkpoint.identity.family, own)

    def start_hashing(self) -> None:
        """Hash what infotexts name, in the background, small files first; new ones too after each refresh."""
        if self._hashing:
            self._background.start()

    def close(self) -> None:
        """Stop hashing and close the index. Idempotent."""
        self._background.close()
        self._index.close()

    def _scan(self) -> Listing:
        real = RealPaths()
        adapters = list_adapters(self._paths, self._adapter_identity)
        main = scan(self._paths.checkpoints, SUFFIXES, model_folders=True)
        own = scan(self._paths.vaes, SUFFIXES)
        taken = {real.of(file.path) for file in own.files}
        beside = [file for file in main.files if _is_vae_by_name(file) and real.of(file.path) not in taken]
        named = (file for file in main.files if not _is_vae_by_name(file))
        checkpoints, refused = self._identify_all(named, checkpoint_refusal, self._added_families)
        vaes, refused_vaes = self._identify_all((*own.files, *named_apart(beside, own.files)), vae_refusal)
        # One folder may serve for both; what is good for one list is not reported as bad for the other.
        used = {real.of(file.path) for file in (*checkpoints, *vaes, *adapters.loras, *adapters.embeddings, *adapters.hypernetworks)}
        refusals = (*main.broken, *own.broken, *refused_vaes, *refused)
        broken = {file.path: file for file in refusals if real.of(file.path) not in used}
        return Listing(
            tuple(sorted((Checkpoint(**vars(file), identity=identity) for file, identity in checkpoints.items()), key=_order)),
            tuple(sorted(vaes, key=_order)),
            tuple(sorted(broken.values(), key=_order)),
            replace(adapters, broken=tuple(file for file in adapters.broken if real.of(file.path) not in used)),
            list_controls(self._paths.controls, self._identity, self._legacy_hash),
            list_upscalers(self._paths.models, self._identity, shipped=self._paths.shipped),
        )

    def _identify_all(
        self, files: Iterable[ModelFile], refusal: Callable[[str], str | None], added: Sequence[NewFamily] = ()
    ) -> tuple[dict[ModelFile, Identity], list[Broken]]:
        """The files whose family is not refused, and the others with the reason."""
        known: dict[ModelFile, Identity] = {}
        broken: list[Broken] = []
        for file in files:
            try:
                identity = with_added_family(file.path, self._identity(file), added)
                reason = refusal(identity.family)
            except ModelError as error:
                reason = str(error)
            if reason is None:
                known[file] = identity
            else:
                broken.append(Broken(file.name, file.path, reason))
        return known, broken

    def _identity(self, file: ModelFile) -> Identity:
        return self._noted_identity(file, IDENTITY, identify_checkpoint)

    def _adapter_identity(self, file: ModelFile) -> Identity:
        return self._noted_identity(file, ADAPTER_IDENTITY, identify_adapter)

    def _noted_identity(self, file: ModelFile, kind: str, read: Callable[[Path], Identity]) -> Identity:
        noted = self._index.get(file, kind)
        if noted is not None:
            return Identity(**json.loads(noted))
        identity = read(file.path)
        self._index.put(file, kind, json.dumps(asdict(identity)))
        return identity

    def _compute_hash(self, file: ModelFile, kind: str, stop: threading.Event | None = None) -> str:
        """Compute and note a hash; two threads that want the same one compute it once."""
        if not self._hashing:
            return ""
        with self._hashing_now.setdefault(file.path, threading.Lock()):
            before = as_it_is_now(file)
            known = self._index.get(before, kind)
            if known is not None:
                return known
            digest = addnet_hash_of(file.path, stop) if kind == ADDNET else sha256_of(file.path, stop)
            # A file that was written to meanwhile has no hash worth noting.
            if as_it_is_now(file) == before:
                self._index.put(before, kind, digest)
            return digest

    def _legacy_hash(self, file: ModelFile) -> str | None:
        noted = self._index.get(file, "legacy")
        if noted is None:
            try:
                noted = legacy_hash_of(file.path) or ""
            except OSError as error:
                log.warning("%s cannot be read: %s", file.name, error)
                return None
            self._index.put(file, "legacy", noted)
        return noted or None

    def _without_hash(self) -> list[ModelFile]:
        listing = self._listing
        files = (*listing.checkpoints, *listing.vaes, *listing.adapters.loras, *listing.adapters.embeddings)
        return [file for file in files if self._index.get(file, _hash_kind(file)) is None]


def _hash_kind(file: ModelFile) -> str:
    """LoRAs are known by kohya's hash, which only safetensors files have."""
    return ADDNET if isinstance(file, Lora) and file.path.suffix.lower() == ".safetensors" else SHA256


def _is_vae_by_name(file: ModelFile) -> bool:
    return file.stem.lower().endswith(".vae")


def _order(file: ModelFile | Broken) -> tuple[object, ...]:
    return natural_key(file.name)

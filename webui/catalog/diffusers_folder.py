"""A checkpoint as a folder in diffusers' layout, seen as the one file in the original layout that it could be.

Beside `model_index.json` lie folders of a part each (`unet`, `vae`, `text_encoder`, `text_encoder_2`) with the part's config.json and
weights. Here every tensor gets its original name, and what shapes cannot tell is taken from the configurations, under the names that
a single file's metadata has it. So whatever can read a single file reads such a folder too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeGuard

from webui.catalog.families import DRAWABLE, added_family, family_of
from webui.catalog.identify import Identity, identify, read_shapes
from webui.catalog.ldm_layout import Cut, open_clip_place, unet_name, vae_name
from webui.core.errors import ModelError
from webui.core.extension_points import NewFamily

MARK = "model_index.json"
UNET, VAE, TEXT, SECOND_TEXT = "unet", "vae", "text_encoder", "text_encoder_2"
DEPTH = "depth_estimator"
MAX_CONFIG = 2**20

_CLIP, _OPEN_CLIP = "cond_stage_model.transformer.text_model.", "cond_stage_model.model."
_SDXL_FIRST, _SDXL_SECOND, _REFINER = (
    "conditioner.embedders.0.transformer.text_model.", "conditioner.embedders.1.model.", "conditioner.embedders.0.model.",
)  # fmt: skip
# As diffusers named them at first.
_OLD_VAE_NAMES = (
    (".attentions.0.query.", ".attentions.0.to_q."),
    (".attentions.0.key.", ".attentions.0.to_k."),
    (".attentions.0.value.", ".attentions.0.to_v."),
    (".attentions.0.proj_attn.", ".attentions.0.to_out.0."),
)


@dataclass(frozen=True)
class Piece:
    """A tensor in a part's file.  shape: as the original has it.   transposed: the original has its transpose."""

    file: Path
    name: str
    shape: tuple[int, ...]
    transposed: bool = False


@dataclass(frozen=True)
class Folder:
    """metadata: as a single file would have it.   tensors: of each original name the pieces that make it, one below another."""

    metadata: Mapping[str, str]
    tensors: Mapping[str, tuple[Piece, ...]]

    def shape(self, name: str) -> tuple[int, ...]:
        """Of one tensor."""
        first, *rest = self.tensors[name]
        return (first.shape[0] + sum(piece.shape[0] for piece in rest), *first.shape[1:]) if rest else first.shape


def is_model_folder(path: Path) -> bool:
    """Whether this is a folder that diffusers wrote a pipeline into."""
    return (path / MARK).is_file()


def identify_checkpoint(path: Path) -> Identity:
    """As identify, of a file or of a folder.  Raises ModelError, whose text goes on after the name."""
    if not path.is_dir():
        return identify(path)
    folder = describe_folder(path)
    return Identity(family_of({name: folder.shape(name) for name in folder.tensors}), folder.metadata, len(folder.tensors))


def with_added_family(path: Path, identity: Identity, added: Sequence[NewFamily]) -> Identity:
    """The identity with an extension's family, where one recognises a checkpoint that is none of ours.  Raises as identify_checkpoint."""
    if not added or identity.family in DRAWABLE:
        return identity
    found = added_family(shapes_of(path), added)
    return replace(identity, family=found.name) if found else identity


def shapes_of(path: Path) -> Mapping[str, tuple[int, ...]]:
    """The shapes of a checkpoint's tensors by their original names, of a file or of a folder.  Raises as identify_checkpoint."""
    if not path.is_dir():
        return read_shapes(path)[0]
    folder = describe_folder(path)
    return {name: folder.shape(name) for name in folder.tensors}


def files_of(path: Path) -> list[Path]:
    """The weights in a folder, the UNet's first."""
    return [file for part in (UNET, VAE, TEXT, SECOND_TEXT) for file in weights_in(path / part)]


def size_and_time(path: Path) -> tuple[int, int]:
    """Bytes, and time of the last change in ns, of a model: a file, the weights of a folder of this layout, or another folder itself.

    Raises OSError.
    """
    if not is_model_folder(path):
        status = path.stat()
        return status.st_size, status.st_mtime_ns
    found = [file.stat() for file in (path / MARK, *files_of(path))]
    return sum(one.st_size for one in found), max(one.st_mtime_ns for one in found)


def describe_folder(path: Path) -> Folder:
    """What a folder holds.  Raises ModelError, whose text goes on after the folder's name."""
    index = _object_in(path / MARK)
    if not weights_in(path / UNET):
        kind = index.get("_class_name")
        raise ModelError(f"is a {kind} without a UNet; this version draws SD 1.x, SD 2.x and SDXL")
    parts = {name: _pieces(path / name) for name in (UNET, VAE, TEXT, SECOND_TEXT) if weights_in(path / name)}
    configs = {name: _object_in(path / name / "config.json") for name in parts}
    names = [
        *_unet_names(parts[UNET]),
        *_vae_names(parts.get(VAE, ())),
        *_text_names({name: parts[name] for name in (TEXT, SECOND_TEXT) if name in parts}, configs),
    ]
    tensors: dict[str, list[tuple[int, Piece]]] = {}
    for place, piece in names:
        name, number = (place.name, place.number) if isinstance(place, Cut) else (place, 0)
        tensors.setdefault(name, []).append((number, piece))
    scheduler = _object_in(path / "scheduler" / "scheduler_config.json")
    return Folder(_metadata(configs, scheduler), {name: _joined(name, found) for name, found in tensors.items()})


def _joined(name: str, found: Iterable[tuple[int, Piece]]) -> tuple[Piece, ...]:
    pieces = tuple(piece for _, piece in sorted(found, key=lambda one: one[0]))
    if len(pieces) > 1 and (len({piece.shape for piece in pieces}) > 1 or not pieces[0].shape):
        raise ModelError(f"has tensors that do not fit together: those of {name!r}")
    return pieces


def weights_in(part: Path) -> list[Path]:
    """The files of a part, or of another model that transformers or diffusers stored in a folder.

    Whole or in shards, safetensors rather than pickles, and rather without a variant's name; empty where there is none.
    """
    for stem in ("diffusion_pytorch_model", "model", "pytorch_model"):
        for pattern in (
            f"{stem}.safetensors", f"{stem}-*-of-*.safetensors", f"{stem}.fp16.safetensors", f"{stem}.fp16-*-of-*.safetensors",
            f"{stem}.bin", f"{stem}.fp16.bin",
        ):  # fmt: skip
            if files := sorted(file for file in part.glob(pattern) if file.is_file()):
                return files
    return []


def _pieces(part: Path) -> tuple[Piece, ...]:
    try:
        return tuple(Piece(file, name, shape) for file in weights_in(part) for name, shape in read_shapes(file)[0].items())
    except ModelError as error:
        raise ModelError(f"has a part, {part.name}, that {error}") from None


def _unet_names(pieces: tuple[Piece, ...]) -> Iterator[tuple[str | Cut, Piece]]:
    names = {piece.name for piece in pieces}
    layers = _count(names, "down_blocks.0.resnets.{}.")
    attends = tuple(
        any(name.startswith(f"up_blocks.{level}.attentions.") for name in names) for level in range(_count(names, "up_blocks.{}."))
    )
    return _named(pieces, "model.diffusion_model.", lambda name: unet_name(name, layers=layers, up_attention=attends))


def _vae_names(pieces: tuple[Piece, ...]) -> Iterator[tuple[str | Cut, Piece]]:
    levels = _count({piece.name for piece in pieces}, "encoder.down_blocks.{}.")

    def original(name: str) -> str:
        for old, new in _OLD_VAE_NAMES:
            name = name.replace(old, new)
        return vae_name(name, levels=levels)

    for name, piece in _named(pieces, "first_stage_model.", original):
        # The original has the linear layers of its attention as convolutions.
        yield name, replace(piece, shape=(*piece.shape, 1, 1)) if ".attn_1." in str(name) and len(piece.shape) == 2 else piece


def _text_names(parts: Mapping[str, tuple[Piece, ...]], configs: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str | Cut, Piece]]:
    first, second = parts.get(TEXT), parts.get(SECOND_TEXT)
    if first and second:
        yield from _named(first, _SDXL_FIRST, _clip_place)
        yield from _named(second, _SDXL_SECOND, open_clip_place)
    elif second:
        yield from _named(second, _REFINER, open_clip_place)
    elif first and configs[TEXT].get("hidden_act") == "gelu":
        yield from _named(first, _OPEN_CLIP, open_clip_place)
    elif first:
        yield from _named(first, _CLIP, _clip_place)


def _named(pieces: Iterable[Piece], prefix: str, place: Callable[[str], str | Cut]) -> Iterator[tuple[str | Cut, Piece]]:
    """Pieces with their original places behind the prefix."""
    for piece in pieces:
        if piece.name.endswith("position_ids"):
            continue
        try:
            found = place(piece.name)
        except (ValueError, IndexError):
            raise ModelError(f"has a tensor that no model known here has: {piece.name[:100]!r}") from None
        if not isinstance(found, Cut):
            yield prefix + found, piece
        elif found.transposed:
            yield prefix + found.name, replace(piece, shape=piece.shape[::-1], transposed=True)
        else:
            yield replace(found, name=prefix + found.name), piece


def _clip_place(name: str) -> str:
    return name.removeprefix("text_model.")


def _count(names: Collection[str], template: str) -> int:
    """How many n from 0 on make `template.format(n)` the beginning of some name."""
    number = 0
    while any(name.startswith(template.format(number)) for name in names):
        number += 1
    return number


def _metadata(configs: Mapping[str, Mapping[str, Any]], scheduler: Mapping[str, Any]) -> dict[str, str]:
    """What shapes cannot tell, under the names that engine/families/ reads. What a configuration does not say is left out."""
    unet, vae, text = configs[UNET], configs.get(VAE, {}), configs.get(TEXT, {})
    open_clip = configs.get(SECOND_TEXT) or (text if text.get("hidden_act") == "gelu" else {})
    said = {
        "prediction_type": scheduler.get("prediction_type"),
        "ss_zero_terminal_snr": scheduler.get("rescale_betas_zero_snr") or None,
        "norm_num_groups_unet": unet.get("norm_num_groups"),
        "norm_num_groups_vae": vae.get("norm_num_groups"),
        "vae_scaling_factor": vae.get("scaling_factor"),
        "text_attention_heads": text.get("num_attention_heads"),
        "open_clip_attention_heads": open_clip.get("num_attention_heads"),
        "open_clip_layers": open_clip.get("num_hidden_layers"),
        **_heads(unet),
    }
    return {name: str(value) for name, value in said.items() if isinstance(value, str | int | float)}


def _heads(unet: Mapping[str, Any]) -> dict[str, int]:
    """How many heads each level has, or how wide they are, whichever is one number.

    diffusers' `attention_head_dim` is the number of heads, under a wrong name that it has kept.
    """
    heads, channels = unet.get("attention_head_dim"), unet.get("block_out_channels")
    if isinstance(heads, list) and len(set(map(repr, heads))) == 1:
        heads = heads[0]
    if _is_count(heads):
        return {"unet_attention_heads": heads}
    if not isinstance(heads, list) or not isinstance(channels, list) or not heads or not all(map(_is_count, (*heads, *channels))):
        return {}
    widths = {channel // head for channel, head in zip(channels, heads, strict=False)}
    return {"unet_head_channels": widths.pop()} if len(widths) == 1 else {}


def _is_count(value: Any) -> TypeGuard[int]:
    return type(value) is int and value > 0


def _object_in(path: Path) -> dict[str, Any]:
    """The JSON object in a file of the folder; an empty one when there is no such file.  Raises ModelError for another content."""
    if not path.is_file():
        return {}
    try:
        with path.open("rb") as file:
            content = file.read(MAX_CONFIG + 1)
        found = json.loads(content) if len(content) <= MAX_CONFIG else None
    except (OSError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ModelError(f"has a {path.name} in {path.parent.name} that is no configuration; download it again")
    return found

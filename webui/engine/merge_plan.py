"""What a merge writes: of each tensor, what it is made of; and the metadata. Checked as a whole before anything is written.

Method and special cases are those of A1111's Checkpoint Merger: only names with "model" in them are mixed, position ids are not, and a UNet
with more input channels (inpainting, instruct-pix2pix) takes the first four from one with four. The arithmetic is done in float32.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

import regex
import torch

from webui.core.errors import InvalidRequest, ModelError
from webui.core.model_jobs import (
    ADD_DIFFERENCE,
    AS_IN_A,
    FIRST_CONFIG,
    KEEP_AVERAGES,
    NO_CONFIG,
    NO_INTERPOLATION,
    WEIGHTED_SUM,
    MergeRequest,
    read_metadata_json,
)
from webui.core.ports import MergeSource, MergeWork
from webui.engine.families.layout import VAE
from webui.engine.loading import TensorFile
from webui.engine.merge_models import AVERAGES, MARKERS, PREDICTION_KEYS, MergeModel
from webui.engine.tensor_writing import PlannedTensor, in_file_order

SECONDS_OF_PATTERN = 5.0
_POSITIONS = "embeddings.position_ids"
_KNOWN_PARTS = ("model.diffusion_model.", "cond_stage_model.", "conditioner.", VAE, "depth_model.")
_TRAINING_PARTS = (f"{VAE}loss.",)
# Numbers of which shapes say nothing; without them the file could not be read as A is.
_SHAPE_KEYS = ("norm_num_groups_unet", "norm_num_groups_vae", "unet_attention_heads", "text_attention_heads")
_HASH_KEYS = frozenset({"sshs_model_hash", "sshs_legacy_hash", "modelspec.hash_sha256"})
_LATENT_CHANNELS = 4
_PRECISIONS: Mapping[str, torch.dtype] = MappingProxyType({"float16": torch.float16, "bfloat16": torch.bfloat16})
_EIGHT_BITS = (torch.float8_e4m3fn, torch.float8_e5m2)


class MergePlan:
    """One merge.  tensors: what is written, in the order of the file.   remarks: what the user should know; grows while they are made.

    Raises ModelError when models do not fit together, InvalidRequest for a pattern that takes too long.
    """

    def __init__(self, work: MergeWork) -> None:
        request = work.request
        self._request = request
        self._a, self._b, self._c = _open(work)
        self.models = tuple(model for model in (self._a, self._b, self._c) if model)
        self._vae = _VaeFile(work.vae) if work.vae else None
        self._config = _config_of(request, self.models)
        self.remarks: list[str] = []
        self.overflown: list[str] = []
        self._check_fit()
        self.tensors = in_file_order([self._plan(name) for name in sorted(self._chosen())])
        self.metadata = self._metadata(work)

    @property
    def config_file_source(self) -> MergeModel | None:
        """The model whose .yaml goes beside the result."""
        return self._config if self._config and self._config.config_file else None

    @property
    def size(self) -> int:
        """Bytes of all tensors."""
        return sum(one.size for one in self.tensors)

    def _chosen(self) -> set[str]:
        """The names of the result."""
        names = set(self._a.names)
        if self._config and self._config is not self._a:
            names -= set(MARKERS)
            names |= set(MARKERS) & self._config.names
        if self._request.only_known_parts:
            parts = _KNOWN_PARTS if self._request.averages != KEEP_AVERAGES else (*_KNOWN_PARTS, AVERAGES)
            names = {name for name in names if name in MARKERS or (name.startswith(parts) and not name.startswith(_TRAINING_PARTS))}
        discarded = _matching(self._request.discard_weights, names)
        if discarded:
            self.remarks.append(f"{len(discarded)} of {len(names)} tensors were discarded.")
        if not names - discarded:
            raise ModelError("Nothing would be left of the model. Discard less.")
        return names - discarded

    def _plan(self, name: str) -> PlannedTensor:
        if name in MARKERS and self._config and self._config is not self._a:
            marker = self._config.tensor(name)
            return PlannedTensor(name, marker.dtype, tuple(marker.shape), partial(self._config.tensor, name))
        own = self._a.tensor(name)
        baked = self._vae.find(name, own) if self._vae else None
        dtype = self._dtype(name, (own if baked is None else baked).dtype)
        return PlannedTensor(name, dtype, tuple(own.shape), partial(self._make, name, dtype))

    def _dtype(self, name: str, dtype: torch.dtype) -> torch.dtype:
        """Tables of noise levels keep their precision: rounded, they would draw something else."""
        is_weight = "model" in name and dtype.is_floating_point
        return _PRECISIONS[self._request.precision] if is_weight and self._request.precision != AS_IN_A else dtype

    def _make(self, name: str, dtype: torch.dtype) -> torch.Tensor:
        own = self._a.read(name)
        baked = self._vae.find(name, own) if self._vae else None
        source = self._mixed(name, own) if baked is None else baked
        result = source.to(dtype)
        if dtype.is_floating_point and dtype.itemsize == 2 and result is not source and _has_new_infinity(source, result):
            self.overflown.append(name)
        return result

    def _mixed(self, name: str, own: torch.Tensor) -> torch.Tensor:
        """The tensor after the method, in A's dtype if nothing was done to it, else in the one that was computed in."""
        share = self._request.multiplier
        if not self._is_mixed(name, own) or share == 0:
            return own
        assert self._b
        wide = torch.float64 if own.dtype == torch.float64 else torch.float32
        other = self._b.read(name)
        if self._request.method == ADD_DIFFERENCE:
            assert self._c
            change = other.to(wide) - self._c.read(name).to(wide)
        else:
            change = other.to(wide)
        channels = slice(None) if change.shape == own.shape else slice(_LATENT_CHANNELS)
        result = own.to(wide, copy=True)
        part = result[:, channels] if result.ndim > 1 else result
        if self._request.method == WEIGHTED_SUM and share == 1:
            part.copy_(change)
        elif self._request.method == WEIGHTED_SUM:
            # Not A + (B - A) * M, which rounds otherwise; nor in one operation, which on some processors does too.
            part.mul_(1 - share).add_(change * share)
        else:
            part.add_(change * share)
        return result.to(own.dtype) if self._request.precision == AS_IN_A else result

    def _is_mixed(self, name: str, own: torch.Tensor) -> bool:
        if self._request.method == NO_INTERPOLATION or "model" not in name or name.endswith(_POSITIONS) or not own.dtype.is_floating_point:
            return False
        others = (self._b,) if self._request.method == WEIGHTED_SUM else (self._b, self._c)
        return all(model is not None and name in model.names for model in others)

    def _check_fit(self) -> None:
        """Raises ModelError when the models' tensors have other shapes, or nothing in common."""
        if self._request.method == NO_INTERPOLATION:
            return
        weights = [name for name in sorted(self._a.names) if "model" in name and not name.startswith(AVERAGES)]
        mixed = [name for name in weights if self._is_mixed(name, self._a.tensor(name))]
        for model in self.models[1 : 2 if self._request.method == WEIGHTED_SUM else 3]:
            self._check_shapes(model, mixed)
        if not mixed:
            raise ModelError(f"{self._a.source.title} has no weights in common with the others. Merge models of one family.")
        if len(mixed) < len(weights):
            left = [name for name in weights if name not in set(mixed) and not name.endswith(_POSITIONS)]
            if left:
                self.remarks.append(f"{len(left)} tensors of A are not in the others and stay as they are ({left[0]}, ...).")

    def _check_shapes(self, model: MergeModel, mixed: list[str]) -> None:
        wrong = []
        for name in mixed:
            own, other = tuple(self._a.tensor(name).shape), tuple(model.tensor(name).shape)
            if own == other or _takes_four_of(own, other):
                continue
            if _takes_four_of(other, own):
                raise ModelError(
                    f"{model.source.title} ({model.letter}) has a UNet of {other[1]} input channels and A one of {own[1]}. "
                    "Choose the model for inpainting or editing as A."
                )
            wrong.append((name, own, other))
        if wrong:
            name, own, other = wrong[0]
            raise ModelError(
                f"{model.source.title} ({model.letter}) does not fit {self._a.source.title} (A): {name!r} has shape {other} where A has "
                f"{own}; {len(wrong)} of {len(mixed)} tensors differ. Merge models of one family."
            )

    def _metadata(self, work: MergeWork) -> dict[str, str]:
        request, own = self._request, self._a.metadata
        kept = {key: value for key, value in own.items() if key not in _HASH_KEYS} if request.copy_metadata else {}
        kept |= {key: own[key] for key in (*_SHAPE_KEYS, *PREDICTION_KEYS) if key in own}
        if self._config and self._config is not self._a:
            kept = {key: value for key, value in kept.items() if key not in PREDICTION_KEYS}
            kept |= {key: self._config.metadata[key] for key in PREDICTION_KEYS if key in self._config.metadata}
        if self._vae and (groups := self._vae.file.metadata.get("norm_num_groups_vae")):
            kept["norm_num_groups_vae"] = groups
        kept |= read_metadata_json(request.metadata_json)
        kept["format"] = "pt"
        return kept | _recipe(work, self.models) if request.add_recipe else kept


class _VaeFile:
    """The VAE that is baked in."""

    def __init__(self, path: Path) -> None:
        self.file = TensorFile(path)
        self._prefix = VAE if any(name.startswith(VAE) for name in self.file.names) else ""

    def find(self, name: str, place: torch.Tensor) -> torch.Tensor | None:
        """Its tensor for one of the checkpoint, in that one's shape; None where it has none.  Raises ModelError."""
        own = self._prefix + name.removeprefix(VAE)
        if not name.startswith(VAE) or own not in self.file.names:
            return None
        tensor = self.file.tensor(own)
        # Some write these linear layers as 1x1 convolutions.
        without_ones = lambda shape: tuple(size for size in shape if size != 1)  # noqa: E731
        if without_ones(tensor.shape) != without_ones(place.shape):
            raise ModelError(
                f"{self.file.path.name} does not fit: {own!r} has shape {tuple(tensor.shape)}, the checkpoint's {tuple(place.shape)}."
            )
        return tensor.reshape(place.shape)


def _open(work: MergeWork) -> tuple[MergeModel, MergeModel | None, MergeModel | None]:
    averages = work.request.averages
    first, *others = work.models
    opened = [
        MergeModel(source, letter, averages if _has_averages(source) else KEEP_AVERAGES) if source else None
        for source, letter in zip(others, "BC", strict=True)
    ]
    assert first
    return MergeModel(first, "A", averages), opened[0], opened[1]


def _has_averages(source: MergeSource) -> bool:
    return any(name.startswith(AVERAGES) for name in TensorFile(source.path).names)


def _config_of(request: MergeRequest, models: tuple[MergeModel, ...]) -> MergeModel | None:
    """The model that says what the result's UNet predicts; None where nobody is to."""
    if request.config_source == NO_CONFIG:
        return None
    if request.config_source == FIRST_CONFIG:
        return next((model for model in models if model.says_prediction), None)
    return next(model for model in models if model.letter == request.config_source)


def _takes_four_of(own: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether this is a UNet's input of more channels, and the other one of the four of the latents alone."""
    return len(own) == len(other) == 4 and own[1] > other[1] == _LATENT_CHANNELS and (own[0], *own[2:]) == (other[0], *other[2:])


def _matching(pattern: str, names: set[str]) -> set[str]:
    """The names in which the pattern is found.  Raises InvalidRequest when that takes too long."""
    if not pattern:
        return set()
    compiled = regex.compile(pattern)
    end = time.monotonic() + SECONDS_OF_PATTERN
    found = set()
    try:
        for name in names:
            # Concurrent: other threads go on meanwhile, also while a bad pattern uses up its time.
            if compiled.search(name, timeout=max(0.001, end - time.monotonic()), concurrent=True):
                found.add(name)
    except TimeoutError:
        raise InvalidRequest(f"discard_weights: {pattern[:80]!r} takes too long. Write it without nested repetitions.") from None
    return found


def _has_new_infinity(source: torch.Tensor, result: torch.Tensor) -> bool:
    return source.dtype not in _EIGHT_BITS and bool(torch.isinf(result).any()) and not bool(torch.isinf(source).any())


def _recipe(work: MergeWork, models: tuple[MergeModel, ...]) -> dict[str, str]:
    """How it was made, under A1111's keys and in its shape."""
    request = work.request
    hashes = [source.sha256 if source else None for source in work.models]
    inputs = {_input_channels(model) for model in models[:1]}
    recipe = {
        "type": "webui",
        "primary_model_hash": hashes[0],
        "secondary_model_hash": hashes[1],
        "tertiary_model_hash": hashes[2],
        "interp_method": request.method,
        "multiplier": request.multiplier,
        "save_as_half": request.precision == "float16",
        "custom_name": request.custom_name,
        "config_source": (FIRST_CONFIG, "B", "C", NO_CONFIG).index(request.config_source),
        "bake_in_vae": request.bake_in_vae,
        "discard_weights": request.discard_weights,
        "is_inpainting": 9 in inputs and _widens(models),
        "is_instruct_pix2pix": 8 in inputs and _widens(models),
    }
    known: dict[str, object] = {}
    for model in models:
        source = model.source
        if source.sha256:
            known[source.sha256] = {
                "name": source.title, "legacy_hash": source.legacy_hash, "sd_merge_recipe": _read(model.metadata.get("sd_merge_recipe")),
            }  # fmt: skip
        earlier = _read(model.metadata.get("sd_merge_models"))
        known |= earlier if isinstance(earlier, dict) else {}
    return {"sd_merge_recipe": json.dumps(recipe), "sd_merge_models": json.dumps(known)}


def _widens(models: tuple[MergeModel, ...]) -> bool:
    return any(_input_channels(model) == _LATENT_CHANNELS for model in models[1:2])


def _input_channels(model: MergeModel) -> int:
    name = "model.diffusion_model.input_blocks.0.0.weight"
    return int(model.tensor(name).shape[1]) if name in model.names and model.tensor(name).ndim == 4 else 0


def _read(text: str | None) -> object:
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None

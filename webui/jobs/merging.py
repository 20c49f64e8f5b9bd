"""Jobs that merge, convert and prune checkpoints: what was asked made concrete, and the run that hands it to the engine."""

from __future__ import annotations

import math
import re
from pathlib import Path

import regex

from webui.catalog.catalog import Catalog, Checkpoint
from webui.catalog.hashes import legacy_hash_of
from webui.core.errors import InvalidRequest, ModelError
from webui.core.events import Cancelled, Failed, Finished
from webui.core.model_jobs import NO_INTERPOLATION, NO_VAE, MergeRequest, merged_name, read_model_request
from webui.core.ports import MergeSource, MergeWork
from webui.jobs.filenames import safe_name
from webui.jobs.model_names import check_free, check_name
from webui.jobs.run import Run

SUFFIX = ".safetensors"
MAX_REPETITIONS = 1000
_TITLES = (("primary", "model A"), ("secondary", "model B"), ("tertiary", "model C"))
_PLAIN_FAMILIES = ("sd1", "sd2", "sdxl")
_REPETITION = re.compile(r"\{\s*(\d+)")


def settle_merge(request: MergeRequest, catalog: Catalog) -> MergeRequest:
    """The same request with the catalog's names of its models and the name of the file to be.

    Raises InvalidRequest for a model that is missing or unknown, and for a name that cannot be or is taken.
    """
    needed = {*request.NEEDS[request.method], *request.NEEDS.get(request.config_source, ())}
    for field, title in _TITLES:
        if field in needed and not getattr(request, field).strip():
            raise InvalidRequest(f"{field}: {request.method!r} with the config of {request.config_source!r} needs {title}. Choose one.")
    check_pattern(request.discard_weights)
    models = [_find(getattr(request, field), catalog) if field in needed else None for field, _ in _TITLES]
    names = {field: model.name if model else "" for (field, _), model in zip(_TITLES, models, strict=True)}
    if request.bake_in_vae != NO_VAE:
        names["bake_in_vae"] = _vae(request, catalog, models[0])[0]
    settled = read_model_request(MergeRequest, {**request.model_dump(), **names})
    target = catalog.paths.checkpoints[0] / _result_name(settled, models)
    check_free(target, overwrite=request.overwrite)
    if any(model and model.path.exists() and target.exists() and target.samefile(model.path) for model in models):
        raise InvalidRequest(f"{target.name} is one of the models that it is made of. Give another name.")
    return read_model_request(MergeRequest, {**settled.model_dump(), "result": target.name})


def check_pattern(pattern: str) -> None:
    """Raises InvalidRequest for what is no regular expression, or one that would be too large when it is compiled."""
    if math.prod(max(1, int(number[:9])) for number in _REPETITION.findall(pattern)) > MAX_REPETITIONS:
        raise InvalidRequest(f"discard_weights: {pattern[:80]!r} repeats more than {MAX_REPETITIONS} times. Write a shorter pattern.")
    try:
        regex.compile(pattern)
    except (regex.error, OverflowError, RecursionError) as error:
        raise InvalidRequest(f"discard_weights: {pattern[:80]!r} is no regular expression ({error}). Write another, or none.") from None


class MergeRun(Run):
    """A merge while the engine does it."""

    def _draw(self) -> Finished | Cancelled | Failed:
        request = self.job.request
        assert isinstance(request, MergeRequest)
        models: list[MergeSource | None] = []
        for name in (request.primary, request.secondary, request.tertiary):
            if self._must_stop():
                return Cancelled()
            models.append(self._source(name, with_hash=request.add_recipe) if name else None)
        end = self._through_engine(self._work(request, models))
        if isinstance(end, Finished):
            self._around.catalog.refresh()
        return end

    def _work(self, request: MergeRequest, models: list[MergeSource | None]) -> MergeWork:
        catalog = self._around.catalog
        first, second, third = models
        assert first
        vae = None
        if request.bake_in_vae != NO_VAE:
            vae = _vae(request, catalog, _find(request.primary, catalog))[1]
        target = catalog.paths.checkpoints[0] / request.result
        target.parent.mkdir(parents=True, exist_ok=True)
        check_free(target, overwrite=request.overwrite)
        return MergeWork(self.job.id, request, (first, second, third), vae, target)

    def _source(self, name: str, *, with_hash: bool) -> MergeSource:
        catalog = self._around.catalog
        checkpoint = _find(name, catalog)
        if not with_hash:
            return MergeSource(checkpoint.path, checkpoint.name)
        try:
            legacy = legacy_hash_of(checkpoint.path)
        except OSError as error:
            raise ModelError(f"{checkpoint.name} cannot be read: {error.strerror}. Refresh the list of models.") from None
        return MergeSource(checkpoint.path, checkpoint.name, catalog.sha256(checkpoint) or None, legacy)


def _find(name: str, catalog: Catalog) -> Checkpoint:
    return catalog.find_checkpoint(name, closest=False)


def _vae(request: MergeRequest, catalog: Catalog, checkpoint: Checkpoint | None) -> tuple[str, Path]:
    """Name and file of the VAE that is baked in."""
    if request.bake_in_vae in ("", "Automatic"):
        raise InvalidRequest(f"bake_in_vae: got {request.bake_in_vae!r}; name a VAE's file, or 'None'.")
    assert checkpoint
    found = catalog.find_vae(request.bake_in_vae, checkpoint)
    assert found
    return found.name, found.path


def _result_name(request: MergeRequest, models: list[Checkpoint | None]) -> str:
    ending = _family_ending(request, models) + SUFFIX
    if not request.custom_name:
        return safe_name(merged_name(request)) + ending
    stem = request.custom_name.removesuffix(SUFFIX)
    check_name("custom_name", stem)
    if stem.lower().endswith(".vae"):
        raise InvalidRequest(f"custom_name: got {stem!r}; a file whose name ends in .vae is taken for a VAE. Give another name.")
    return stem + ending


def _family_ending(request: MergeRequest, models: list[Checkpoint | None]) -> str:
    """A1111's ending of models whose UNet has more input channels than that which was worked in."""
    first, second, _ = models
    if request.method == NO_INTERPOLATION or not first or not second or second.identity.family not in _PLAIN_FAMILIES:
        return ""
    family = first.identity.family
    return ".inpainting" if family.endswith("inpaint") else ".instruct-pix2pix" if family.endswith("ip2p") else ""

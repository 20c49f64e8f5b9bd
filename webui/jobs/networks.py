"""Which files the prompts of a job name: LoRAs, hypernetworks and embeddings, looked up in the catalog."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import partial

from webui.catalog.catalog import Catalog
from webui.core.errors import WebuiError
from webui.core.extra_networks import NetworkTag, take_networks
from webui.core.ports import NetworkFile
from webui.core.request import GenerationRequest

log = logging.getLogger(__name__)


def find_networks(
    request: GenerationRequest, catalog: Catalog, knows: Callable[[str], bool] = lambda kind: False
) -> tuple[tuple[NetworkFile, ...], tuple[str, ...]]:
    """The files, and a remark for each tag that cannot be followed.  knows: whether an extension follows tags of a kind."""
    prompts = dict.fromkeys(request.prompts or (request.prompt,))
    negatives = dict.fromkeys(request.negative_prompts or (request.negative_prompt,))
    remarks: dict[str, None] = {}
    files: list[NetworkFile] = []
    if not request.disable_extra_networks:
        tags = dict.fromkeys(tag for prompt in prompts for tag in take_networks(prompt)[1] if not knows(tag.kind))
        files = _tagged(tags, catalog, remarks)
    return (*files, *_embeddings((*prompts, *negatives), catalog)), tuple(remarks)


def _tagged(tags: Iterable[NetworkTag], catalog: Catalog, remarks: dict[str, None]) -> list[NetworkFile]:
    files: dict[tuple[str, str], NetworkFile] = {}
    for tag in tags:
        try:
            file = _find(tag, catalog)
        except WebuiError as error:
            remarks[f"{error} Drawn without it."] = None
            continue
        if file is None:
            remarks[f"{tag} is no kind of network that is known here; drawn without it."] = None
        else:
            files[(file.kind, file.name)] = file
    return list(files.values())


def _find(tag: NetworkTag, catalog: Catalog) -> NetworkFile | None:
    """Raises a WebuiError for a name that is not there and for a file that cannot be used."""
    if tag.kind in ("lora", "lyco"):
        lora = catalog.find_lora(tag.name)
        return NetworkFile("lora", tag.name, lora.path, _hash_or_none(partial(catalog.lora_hash, lora)))
    if tag.kind == "hypernet":
        return NetworkFile("hypernet", tag.name, catalog.find_hypernetwork(tag.name).path)
    return None


def _embeddings(prompts: Iterable[str], catalog: Catalog) -> list[NetworkFile]:
    """Those whose word may stand in a prompt; the tokenizer, which ignores case and spaces, has the last word."""
    text = "\n".join("".join(prompt.lower().split()) for prompt in prompts)
    named = [file for file in catalog.embeddings() if "".join(file.word.lower().split()) in text]
    return [NetworkFile("embedding", file.word, file.path, _hash_or_none(partial(catalog.embedding_hash, file))) for file in named]


def _hash_or_none(compute: Callable[[], str]) -> str | None:
    try:
        return compute()[:12] or None
    except WebuiError as error:
        log.warning("%s The infotext will not have its hash.", error)
        return None

"""ComfyUI's graphs, read backwards from the sampler: what of them can be said in an infotext.

Two forms are embedded in its pictures: "prompt" (what was run: id -> class_type and inputs, an input that is [id, output] is a link)
and "workflow" (what the page shows: nodes with their widgets' values, and a list of links).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from webui.core.foreign_names import Foreign, as_number, as_text, load_object, lora_tag, model_name, sampling, size, tell

PROGRAM = "ComfyUI"
# Real graphs have hundreds of nodes and chains of tens; a hostile one is left there.
MAX_NODES = 10_000
MAX_HOPS = 100

Inputs = dict[str, Any]
Graph = dict[str, tuple[str, Inputs]]

_SAMPLERS = frozenset({"KSampler", "KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced", "KSampler (Efficient)"})
# The parts of a SamplerCustomAdvanced that are nodes of their own; the guider's model is the one with the LoRAs.
_PARTS = ("noise", "sampler", "sigmas", "guider")
_TEXT_INPUTS = ("text", "text_g", "text_l", "t5xxl", "clip_l", "string", "value", "prompt", "positive", "string_a")
_NUMBER_INPUTS = ("seed", "noise_seed", "value", "int", "float", "number", "Value", "INT", "FLOAT")
_CONDITIONINGS = ("conditioning", "conditioning_1", "conditioning_2", "conditioning_to", "conditioning_from")
_LATENTS = ("latent_image", "samples", "latent", "latents")

# Widgets of ComfyUI's own nodes in their order on the page; a seed is followed by what becomes of it after the run.
_WIDGETS: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "KSampler": ("seed", "", "steps", "cfg", "sampler_name", "scheduler", "denoise"),
    "KSamplerAdvanced": ("add_noise", "noise_seed", "", "steps", "cfg", "sampler_name", "scheduler", "start_at_step", "end_at_step"),
    "CLIPTextEncode": ("text",),
    "CheckpointLoaderSimple": ("ckpt_name",),
    "UNETLoader": ("unet_name",),
    "VAELoader": ("vae_name",),
    "LoraLoader": ("lora_name", "strength_model", "strength_clip"),
    "LoraLoaderModelOnly": ("lora_name", "strength_model"),
    "EmptyLatentImage": ("width", "height"),
    "CLIPSetLastLayer": ("stop_at_clip_layer",),
    "RescaleCFG": ("multiplier",),
    "RandomNoise": ("noise_seed",),
    "KSamplerSelect": ("sampler_name",),
    "BasicScheduler": ("scheduler", "steps", "denoise"),
    "CFGGuider": ("cfg",),
})  # fmt: skip


def read_comfy(texts: Mapping[str, str]) -> Foreign | None:
    """The first sampler's parameters: the seed, steps, ... and what its links lead to. None without a graph that has a sampler."""
    graph = _read_prompt(load_object(texts.get("prompt", ""))) or _read_workflow(load_object(texts.get("workflow", "")))
    found = _first_sampler(graph)
    if found is None:
        return None
    inputs, others = found
    positive, negative = (_texts(graph, inputs.get(name), name) for name in ("positive", "negative"))
    if not positive:
        positive = _texts(graph, inputs.get("conditioning"), "positive")
    chain = [graph[node] for node in _upstream(graph, inputs.get("model"), ("model",))]
    tags = [
        lora_tag(node["lora_name"], node.get("strength_model"), node.get("strength_clip", 0))
        for _, node in reversed(chain)
        if as_text(node.get("lora_name"))
    ]
    denoise = as_number(inputs.get("denoise"))
    pairs = {
        "Steps": _number(graph, inputs, "steps"),
        **sampling(_string(graph, inputs, "sampler_name"), _string(graph, inputs, "scheduler")),
        "CFG scale": _number(graph, inputs, "cfg"),
        "Seed": _number(graph, inputs, "seed") or _number(graph, inputs, "noise_seed"),
        "Size": _size(graph, inputs),
        "Model": next((model_name(node[key]) for _, node in chain for key in ("ckpt_name", "unet_name") if key in node), None),
        "VAE": _vae(graph),
        "Denoising strength": denoise if denoise not in ("1", "1.0") else None,
        "Clip skip": _clip_skip(graph, inputs),
        "RNG": "CPU",
        "CFG rescale": next((_number(graph, node, "multiplier") for kind, node in chain if kind == "RescaleCFG"), None),
    }
    remarks = []
    if len(positive) > 1 or len(negative) > 1:
        remarks.append("ComfyUI joined several prompts; they are put one after the other.")
    if others:
        remarks.append("The graph has more than one sampler; the first one's parameters are read.")
    prompt = " ".join(filter(None, [", ".join(positive), *tags]))
    return tell(PROGRAM, prompt, ", ".join(negative), pairs, *remarks)


def _read_prompt(content: Mapping[str, Any]) -> Graph:
    nodes = ((name, node) for name, node in list(content.items())[:MAX_NODES] if isinstance(node, dict))
    return {
        name: (as_text(node.get("class_type")), node["inputs"])
        for name, node in nodes
        if isinstance(node.get("inputs"), dict) and as_text(node.get("class_type"))
    }


def _read_workflow(content: Mapping[str, Any]) -> Graph:
    """The same shape from the page's form, of the node types whose widgets are known."""
    sources = {}
    for link in _items(content.get("links")):
        number, source = (link.get("id"), link.get("origin_id")) if isinstance(link, dict) else (_items(link) + [None] * 2)[:2]
        if isinstance(number, int) and isinstance(source, str | int):
            sources[number] = [source, 0]
    graph: Graph = {}
    for node in _items(content.get("nodes")):
        if not isinstance(node, dict) or not isinstance(node.get("id"), str | int):
            continue
        kind = as_text(node.get("type"))
        values = _items(node.get("widgets_values"))
        inputs: Inputs = {name: value for name, value in zip(_WIDGETS.get(kind, ()), values, strict=False) if name}
        for plug in _items(node.get("inputs")):
            if isinstance(plug, dict) and isinstance(link := plug.get("link"), int) and link in sources:
                inputs[as_text(plug.get("name"))] = sources[link]
        graph[str(node["id"])] = (kind, inputs)
    return graph


def _items(value: object) -> list[Any]:
    return value[:MAX_NODES] if isinstance(value, list) else []


def _first_sampler(graph: Graph) -> tuple[Inputs, bool] | None:
    """The inputs, with those of its parts, of a sampler that draws on no other one; and whether there are others."""
    samplers = [name for name, (kind, _) in graph.items() if kind in _SAMPLERS]
    for name in samplers[:MAX_HOPS]:
        inputs = graph[name][1]
        before = _upstream(graph, inputs.get("latent_image"), _LATENTS)
        if not any(graph[node][0] in _SAMPLERS for node in before):
            parts = [graph[linked][1] for part in _PARTS if (linked := _linked(graph, inputs.get(part)))]
            merged = {key: value for part in parts for key, value in part.items()} | inputs
            return merged, len(samplers) > 1
    return None


def _linked(graph: Graph, value: object) -> str | None:
    """The node that a link leads to."""
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str | int) and str(value[0]) in graph:
        return str(value[0])
    return None


def _upstream(graph: Graph, start: object, through: tuple[str, ...]) -> Iterator[str]:
    """The nodes from a link's on, nearest first, following inputs of these names; each once, and no more than MAX_HOPS."""
    waiting = deque([start])
    seen: set[str] = set()
    while waiting and len(seen) < MAX_HOPS:
        node = _linked(graph, waiting.popleft())
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        waiting.extend(graph[node][1].get(name) for name in through)


def _texts(graph: Graph, start: object, polarity: str) -> list[str]:
    """The texts that are encoded into a conditioning, each once."""
    found: dict[str, None] = {}
    for node in _upstream(graph, start, (polarity, *_CONDITIONINGS)):
        inputs = graph[node][1]
        if text := next(filter(None, (_string(graph, inputs, name) for name in _TEXT_INPUTS[:5])), ""):
            found[text] = None
    return list(found)


def _string(graph: Graph, inputs: Inputs, name: str) -> str:
    """A text, also one that other nodes hand on."""
    if isinstance(inputs.get(name), str):
        return as_text(inputs[name])
    for node in _upstream(graph, inputs.get(name), (name, *_TEXT_INPUTS)):
        for key in (name, *_TEXT_INPUTS):
            if text := as_text(graph[node][1].get(key)):
                return text
    return ""


def _number(graph: Graph, inputs: Inputs, name: str) -> str | None:
    """A number, also one that other nodes hand on."""
    if number := as_number(inputs.get(name)):
        return number
    for node in _upstream(graph, inputs.get(name), (name, *_NUMBER_INPUTS)):
        for key in (name, *_NUMBER_INPUTS):
            if number := as_number(graph[node][1].get(key)):
                return number
    return None


def _size(graph: Graph, inputs: Inputs) -> str | None:
    """The size of the empty latents from which the sampler starts."""
    for node in _upstream(graph, inputs.get("latent_image"), _LATENTS):
        sides = (_number(graph, graph[node][1], side) for side in ("width", "height"))
        if found := size(*sides):
            return found
    return None


def _vae(graph: Graph) -> str | None:
    """The VAE that decodes, where it is a file of its own."""
    for kind, inputs in graph.values():
        if kind in ("VAEDecode", "VAEDecodeTiled") and (loader := _linked(graph, inputs.get("vae"))):
            return model_name(graph[loader][1].get("vae_name"))
    return None


def _clip_skip(graph: Graph, inputs: Inputs) -> str | None:
    for encoder in _upstream(graph, inputs.get("positive"), ("positive", *_CONDITIONINGS)):
        for node in _upstream(graph, graph[encoder][1].get("clip"), ("clip",)):
            layer = graph[node][1].get("stop_at_clip_layer")
            if isinstance(layer, int) and -12 <= layer < -1:
                return str(-layer)
    return None

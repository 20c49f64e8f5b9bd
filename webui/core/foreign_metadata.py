"""Pictures of other programs: what they wrote of themselves, put as an infotext with the program's name.

ComfyUI's graphs are comfy_workflow.py's. The text that Forge, SD.Next and Fooocus write is A1111's, with keys of their own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from webui.core.comfy_workflow import read_comfy
from webui.core.foreign_names import Foreign, as_number, as_text, load_object, lora_tag, model_name, sampling, size, tell

OWN_PROGRAM = "webui"

_FORGE_VERSION = re.compile(r"f\d|neo|classic", re.IGNORECASE)
_BRACKETED = re.compile(r"\[([^\[\]]*)\]")
_SHA256 = re.compile(r"[0-9a-f]{8,64}")
_SIZE = re.compile(r"\D{0,3}(\d{1,5})\D{1,3}(\d{1,5})\D{0,3}")


def translate(texts: Mapping[str, str]) -> Foreign | None:
    """What another program than A1111's kin wrote into a picture, by the keys of `read_texts`; None when nothing of it can be read."""
    readers: tuple[Callable[[Mapping[str, str]], Foreign | None], ...] = (read_novelai, read_invokeai, read_fooocus, read_comfy)
    found = (read(texts) for read in readers)
    return next((foreign for foreign in found if foreign and foreign.infotext), None)


def program_of(fields: Mapping[str, str]) -> str:
    """Which program wrote an infotext of A1111's form; "" when it has no parameters."""
    version = fields.get("Version", "")
    if version.split(" ")[0] == OWN_PROGRAM:
        return OWN_PROGRAM
    if "App" in fields:
        return fields["App"][:40]
    for name in ("Fooocus", "ComfyUI"):
        if version.startswith(name):
            return name
    if _FORGE_VERSION.match(version):
        return "Forge"
    return "A1111" if len(fields) > len(("Prompt", "Negative prompt")) else ""


def read_novelai(texts: Mapping[str, str]) -> Foreign | None:
    """NovelAI: Description is the prompt, Comment JSON. Its WebP files have the same keys as one JSON object in EXIF's comment."""
    wrapped = load_object(texts.get("parameters", ""))
    texts = texts if "Comment" in texts else {**texts, **{key: as_text(value) for key, value in wrapped.items()}}
    comment = load_object(texts.get("Comment", ""))
    if not comment or (texts.get("Software") != "NovelAI" and not {"uc", "sampler"} <= comment.keys()):
        return None
    prompts = _novelai_captions(comment.get("v4_prompt"))
    negatives = _novelai_captions(comment.get("v4_negative_prompt"))
    prompt = "\n".join(prompts) or as_text(comment.get("prompt")) or texts.get("Description", "")
    negative = "\n".join(negatives) or as_text(comment.get("uc"))
    pairs = {
        "Steps": as_number(comment.get("steps")),
        **sampling(comment.get("sampler"), None if comment.get("noise_schedule") == "native" else comment.get("noise_schedule")),
        "CFG scale": as_number(comment.get("scale")),
        "Seed": as_number(comment.get("seed")),
        "Size": size(comment.get("width"), comment.get("height")),
        "Clip skip": "2",
        "ENSD": "31337",
        "CFG rescale": as_number(comment.get("cfg_rescale")) if comment.get("cfg_rescale") else None,
    }
    weighs = any(bracket in text for text in (prompt, negative) for bracket in "{[")
    remark = "NovelAI's {braces} and [brackets] weigh by 1.05; here braces are plain text and brackets weigh by 1.1."
    return tell("NovelAI", prompt, negative, pairs, *([remark] if weighs else []))


def read_invokeai(texts: Mapping[str, str]) -> Foreign | None:
    """InvokeAI 3 and later (invokeai_metadata), and 2 (sd-metadata)."""
    if content := load_object(texts.get("invokeai_metadata", "")):
        return _invokeai_3(content)
    content = load_object(texts.get("sd-metadata", ""))
    image = content.get("image")
    return _invokeai_2(content, image) if isinstance(image, dict) else None


def read_fooocus(texts: Mapping[str, str]) -> Foreign | None:
    """Fooocus' own scheme: JSON where A1111 has its text. Older versions had other keys ("Guidance Scale" for guidance_scale)."""
    content = load_object(texts.get("parameters", ""))
    if texts.get("fooocus_scheme") != "fooocus" and not {"base_model", "guidance_scale"} <= content.keys():
        return None
    facts = {key.lower().replace(" ", "_"): value for key, value in content.items()}
    if not facts:
        return None
    whole = _SIZE.fullmatch(as_text(facts.get("resolution")))
    model_hash = as_text(facts.get("base_model_hash"))
    pairs = {
        "Steps": as_number(facts.get("steps")),
        **sampling(facts.get("sampler"), facts.get("scheduler")),
        "CFG scale": as_number(facts.get("guidance_scale")),
        "Seed": as_number(facts.get("seed")),
        "Size": size(*whole.groups()) if whole else None,
        "Model hash": model_hash if _SHA256.fullmatch(model_hash) else None,
        "Model": model_name(facts.get("base_model")),
        "RNG": "CPU",
        "Version": as_text(facts.get("version")) or None,
    }
    loras = facts.get("loras")
    tags = [lora_tag(*lora[:2]) for lora in loras if isinstance(lora, list) and len(lora) >= 2] if isinstance(loras, list) else []
    prompt = " ".join(filter(None, [_fooocus_prompt(facts, "prompt"), *tags]))
    remark = "Fooocus sharpens and guides in ways of its own; the picture will differ."
    return tell("Fooocus", prompt, _fooocus_prompt(facts, "negative_prompt"), pairs, remark)


def _fooocus_prompt(facts: Mapping[str, Any], name: str) -> str:
    """The prompt with its styles where it is given so, else as it was typed."""
    full = facts.get(f"full_{name}")
    return ", ".join(map(as_text, full)) if isinstance(full, list) and full else as_text(facts.get(name))


def _novelai_captions(prompt: object) -> list[str]:
    """Version 4 keeps the scene and each character apart."""
    caption = prompt.get("caption") if isinstance(prompt, dict) else None
    if not isinstance(caption, dict):
        return []
    people = caption.get("char_captions")
    characters = [one.get("char_caption") for one in people if isinstance(one, dict)] if isinstance(people, list) else []
    return [text for text in map(as_text, [caption.get("base_caption"), *characters]) if text]


def _invokeai_3(content: Mapping[str, Any]) -> Foreign:
    loras = content.get("loras")
    named = [lora for lora in loras if isinstance(lora, dict)] if isinstance(loras, list) else []
    tags = [lora_tag(_invokeai_name(lora.get("model") or lora.get("lora")), lora.get("weight")) for lora in named]
    skip = content.get("clip_skip")
    pairs = {
        "Steps": as_number(content.get("steps")),
        **sampling(content.get("scheduler")),
        "CFG scale": as_number(content.get("cfg_scale")),
        "Seed": as_number(content.get("seed")),
        "Size": size(content.get("width"), content.get("height")),
        "Model": _invokeai_name(content.get("model")),
        "VAE": _invokeai_name(content.get("vae")),
        "Denoising strength": as_number(content.get("strength")),
        "Clip skip": str(skip + 1) if isinstance(skip, int) and 0 < skip < 12 else None,
        "RNG": "CPU" if content.get("rand_device") == "cpu" else None,
        "Tiling": "True" if content.get("seamless_x") is True and content.get("seamless_y") is True else None,
        "CFG rescale": as_number(content.get("cfg_rescale_multiplier")) if content.get("cfg_rescale_multiplier") else None,
    }
    prompt = " ".join(filter(None, [as_text(content.get("positive_prompt")), *tags]))
    return tell("InvokeAI", prompt, as_text(content.get("negative_prompt")), pairs)


def _invokeai_2(content: Mapping[str, Any], image: Mapping[str, Any]) -> Foreign:
    """Its prompt is a text or a list of weighted ones, and what stands in [brackets] is the negative prompt."""
    prompt = image.get("prompt")
    parts = [one.get("prompt") for one in prompt if isinstance(one, dict)] if isinstance(prompt, list) else [prompt]
    text = " ".join(filter(None, map(as_text, parts)))
    model_hash = as_text(content.get("model_hash"))
    pairs = {
        "Steps": as_number(image.get("steps")),
        **sampling(image.get("sampler")),
        "CFG scale": as_number(image.get("cfg_scale")),
        "Seed": as_number(image.get("seed")),
        "Size": size(image.get("width"), image.get("height")),
        "Model hash": model_hash[:10] if _SHA256.fullmatch(model_hash) else None,
        "Model": model_name(content.get("model_weights")),
        "Tiling": "True" if image.get("seamless") is True else None,
    }
    negative = ", ".join(_BRACKETED.findall(text))
    return tell("InvokeAI", _BRACKETED.sub("", text).strip(), negative, pairs)


def _invokeai_name(model: object) -> str | None:
    """Version 4 says name, version 3 said model_name."""
    return model_name(model.get("name") or model.get("model_name")) if isinstance(model, dict) else None

"""The text beside a picture that says how it was made, in A1111's form: request to text, and text to literal fields.

What A1111 takes the fields to mean is infotext_legacy.py's; what they change here is infotext_apply.py's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from webui.core.control import control_pairs
from webui.core.request import GenerationRequest
from webui.core.samplers import find_sampler
from webui.core.settings import Settings

NEGATIVE = "Negative prompt:"
FEWEST_PAIRS = 3
HASH_LENGTH = 10

# A1111's order. Those of them that only the engine knows reach `write_infotext` in `used`, and keep their place here.
BASE_KEYS = (
    "Steps", "Sampler", "Schedule type", "CFG scale", "Image CFG scale", "Seed", "Face restoration", "Size", "Model hash", "Model",
    "FP8 weight", "Cache FP16 weight for LoRA", "VAE hash", "VAE", "Variation seed", "Variation seed strength", "Seed resize from",
    "Denoising strength", "Conditional mask weight", "Clip skip", "ENSD", "Token merging ratio", "Token merging ratio hr",
    "Init image hash", "RNG", "Tiling",
)  # fmt: skip

# The key's length is bounded, so that a long line without a colon is read in linear time.
_PAIR = re.compile(r'(\w[\w \-/]{1,80}):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
_SIZE = re.compile(r"(\d{1,9})x(\d{1,9})", re.ASCII)
_MUST_QUOTE = re.compile(r'[,:\n\r\v\f\x1c-\x1e\x85\u2028\u2029]|^["\s]|\s$')
# Values of these keys are names or prompts; one that reads "10x20" is not a size.
_TEXTS = frozenset({
    "Model", "VAE", "Template", "Negative Template", "User", "Refiner", "Hires prompt", "Hires negative prompt", "Hires checkpoint",
    "Hires upscaler", "Postprocess upscaler", "Postprocess upscaler 2", "Face restoration",
})  # fmt: skip


def write_infotext(
    request: GenerationRequest,
    settings: Settings,
    *,
    model_name: str,
    model_hash: str | None,
    vae_name: str | None,
    vae_hash: str | None,
    used: Mapping[str, str],
    version: str,
    user: str | None = None,
) -> str:
    """Describe one picture as A1111 1.10 does, byte for byte.

    request: what draws this picture alone.   *_hash: sha256 or its beginning; left out when None or empty.
    used: pairs only the engine knows, in A1111's order; one whose key is a base key stands in that key's place.
    user: who asked for the picture, when that is to be written.
    """
    told = {
        "Steps": str(request.steps),
        "Sampler": request.sampler,
        "Schedule type": _schedule_label(request),
        "CFG scale": str(request.cfg_scale),
        "Seed": str(request.seed),
        "Face restoration": settings.face_restoration_model if settings.face_restoration else None,
        "Size": f"{request.width}x{request.height}",
        "Model hash": _short(model_hash) if settings.add_model_hash_to_info else None,
        "Model": model_name if settings.add_model_name_to_info else None,
        "VAE hash": _short(vae_hash) if vae_name else None,
        "VAE": vae_name or None,
        **_seed_variations(request),
        "Denoising strength": str(request.denoising_strength) if request.init_images or request.enable_hr else None,
        "Clip skip": str(settings.CLIP_stop_at_last_layers) if settings.CLIP_stop_at_last_layers > 1 else None,
        "ENSD": _ensd(request, settings),
        "RNG": settings.randn_source if settings.randn_source != "GPU" else None,
        "Tiling": "True" if settings.tiling else None,
    }
    pairs = {key: told.get(key) for key in BASE_KEYS} | control_pairs(request) | dict(used)
    pairs |= {
        "CFG rescale": str(request.cfg_rescale) if request.cfg_rescale else None,
        "Template": request.prompt_template or None,
        "Negative Template": request.negative_template or None,
        "Version": version if settings.add_version_to_infotext else None,
        "User": user,
    }
    return compose(request.prompt, request.negative_prompt, pairs)


def is_key(text: str) -> bool:
    """Whether a pair of this key is read again as it was written."""
    match = _PAIR.fullmatch(f"{text}: 1")
    return match is not None and match[1] == text


def compose(prompt: str, negative_prompt: str, pairs: Mapping[str, str | None]) -> str:
    """Prompts and pairs laid out as an infotext; pairs whose value is None are left out."""
    line = ", ".join(_write_pair(key, value) for key, value in pairs.items() if value is not None)
    negative = f"\n{NEGATIVE} {negative_prompt}" if negative_prompt else ""
    return f"{prompt}{negative}\n{line}".strip()


def with_pairs(text: str, pairs: Mapping[str, str]) -> str:
    """The infotext with more pairs, where A1111 adds its own: behind all others but the program's version."""
    body, _, last = text.rpartition("\n")
    added = ", ".join(_write_pair(key, value) for key, value in pairs.items())
    if not added:
        return text
    if len(_PAIR.findall(last)) < FEWEST_PAIRS:
        return f"{text}\n{added}".strip()
    version = next((match.start() for match in _PAIR.finditer(last) if match[1] == "Version"), None)
    line = f"{last}, {added}" if version is None else f"{last[:version]}{added}, {last[version:]}"
    return f"{body}\n{line}".strip()


def read_infotext(text: str) -> dict[str, str]:
    """The fields of an infotext by key, with "Prompt" and "Negative prompt" always among them.

    A last line of fewer than three pairs belongs to the prompt. "Size: 512x768" is given as "Size-1" and "Size-2". Keys
    that are absent stay absent; what they stand for is told by `interpret`.
    """
    *lines, last = text.strip().split("\n")
    pairs = _PAIR.findall(last)
    if len(pairs) < FEWEST_PAIRS:
        lines, pairs = [*lines, last], []
    fields: dict[str, str] = {}
    for key, raw in pairs:
        value = unquote(raw)
        size = None if key in _TEXTS else _SIZE.fullmatch(value)
        if size:
            fields[f"{key}-1"], fields[f"{key}-2"] = size.groups()
        else:
            fields[key] = value
    fields["Prompt"], fields["Negative prompt"] = _split_prompts(lines)
    return fields


def quote(value: str) -> str:
    """Write a value so that it cannot be taken for more than one value.

    Beyond A1111's rule (a comma, colon or newline is inside), values that a reader would mistake are quoted too: those with
    another line break, an outer space, or a quotation mark at the start.
    """
    return json.dumps(value, ensure_ascii=False) if _MUST_QUOTE.search(value) else value


def unquote(value: str) -> str:
    """The value that was quoted; anything that is not well quoted is returned as it is."""
    if len(value) < 2 or value[0] != '"' or value[-1] != '"':
        return value
    try:
        plain = json.loads(value)
    except ValueError:
        return value
    # An escape may stand for half a character, which no file could hold.
    return plain.encode("utf-8", "replace").decode() if isinstance(plain, str) else value


def _schedule_label(request: GenerationRequest) -> str:
    """A1111 names the spacing that "Automatic" stands for only where the sampler brings one of its own."""
    own = find_sampler(request.sampler).schedule
    return own if own and request.schedule == "Automatic" else request.schedule


def _seed_variations(request: GenerationRequest) -> dict[str, str]:
    pairs: dict[str, str] = {}
    if request.subseed_strength:
        pairs |= {"Variation seed": str(request.subseed), "Variation seed strength": str(request.subseed_strength)}
    if request.seed_resize_from_w > 0 and request.seed_resize_from_h > 0:
        pairs["Seed resize from"] = f"{request.seed_resize_from_w}x{request.seed_resize_from_h}"
    return pairs


def _ensd(request: GenerationRequest, settings: Settings) -> str | None:
    """Only a sampler that draws noise by the shifted seed shows the shift."""
    eta = settings.eta_ancestral if request.eta is None else request.eta
    acts = eta != 0 and find_sampler(request.sampler).uses_ensd
    return str(settings.eta_noise_seed_delta) if settings.eta_noise_seed_delta and acts else None


def _short(sha256: str | None) -> str | None:
    return sha256[:HASH_LENGTH] if sha256 else None


def _write_pair(key: str, value: str) -> str:
    return key if key == value else f"{key}: {quote(value)}"


def _split_prompts(lines: list[str]) -> tuple[str, str]:
    """Everything before the first line that starts the negative prompt, and everything from there on."""
    stripped = [line.strip() for line in lines]
    first = next((number for number, line in enumerate(stripped) if line.startswith(NEGATIVE)), len(stripped))
    negative = [line.removeprefix(NEGATIVE).strip() for line in stripped[first:]]
    return "\n".join(stripped[:first]), "\n".join(negative).lstrip("\n")

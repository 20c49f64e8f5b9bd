"""OpenAI's images API on the wire: names, types, defaults and errors as its reference has them; and how they become a request of ours."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any, Literal

from PIL import ImageChops
from PIL.Image import Image
from pydantic import BaseModel, ConfigDict, Field, model_validator

from webui.api.errors import Refusal
from webui.core.images import encode_picture

MAX_PICTURES = 10
MAX_PARTIAL = 3
MAX_PROMPT = 100_000
# What a client of OpenAI's names when it has not been told of our models: the checkpoint of the settings.
FOREIGN_MODELS = re.compile(r"(dall-e|gpt-image|chatgpt-image)[\w.-]*", re.ASCII)
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})", re.ASCII)
_STEPS: Mapping[str, int] = {"low": 10, "medium": 20, "standard": 20, "high": 30, "hd": 30, "xhigh": 50, "max": 50}
# Our own parameters that a client may send beside OpenAI's (`extra_body` in its package).
OWN = ("seed", "negative_prompt", "steps", "cfg_scale", "sampler", "schedule", "denoising_strength")


class ImageWish(BaseModel):
    """What /v1/images/generations accepts. Unknown keys are ignored; null means the default.

    style, moderation, user, safety_identifier: accepted without effect.   quality: how many steps.
    """

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    prompt: str = Field(max_length=MAX_PROMPT)
    model: str = Field("", max_length=512)
    n: int = Field(1, ge=1, le=MAX_PICTURES)
    size: str = Field("auto", max_length=20)
    quality: Literal["auto", "low", "medium", "standard", "high", "hd", "xhigh", "max"] = "auto"
    response_format: Literal["url", "b64_json"] | None = None
    output_format: Literal["png", "jpeg", "webp"] = "png"
    output_compression: int = Field(100, ge=0, le=100)
    background: Literal["auto", "opaque"] = "auto"
    stream: bool = False
    partial_images: int = Field(0, ge=0, le=MAX_PARTIAL)
    style: str | None = None
    moderation: str | None = None
    user: str | None = None
    safety_identifier: str | None = None
    seed: int | None = None
    negative_prompt: str | None = Field(None, max_length=MAX_PROMPT)
    steps: int | None = None
    cfg_scale: float | None = None
    sampler: str | None = None
    schedule: str | None = None
    denoising_strength: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _null_means_default(cls, values: Any) -> Any:
        return {key: value for key, value in values.items() if value is not None} if isinstance(values, dict) else values

    @property
    def foreign(self) -> bool:
        """Whether the client names a model of OpenAI's, or none."""
        return not self.model or bool(FOREIGN_MODELS.fullmatch(self.model))

    @property
    def wants_url(self) -> bool:
        """As with OpenAI: DALL·E answers with addresses, GPT Image with the pictures."""
        if self.response_format:
            return self.response_format == "url"
        return not self.model.startswith(("gpt-image", "chatgpt-image"))

    def parameters(self) -> dict[str, Any]:
        """The request's parameters, without size and model.  Those that the client does not name are left out."""
        own = {name: value for name in OWN if (value := getattr(self, name)) is not None}
        steps = {"steps": _STEPS[self.quality]} if self.quality in _STEPS else {}
        return {"prompt": self.prompt, "batch_count": self.n, **steps, **own}

    def measures(self) -> tuple[int, int] | None:
        """Width and height; None for the model's own.  Raises Refusal."""
        if self.size == "auto":
            return None
        match = _SIZE.fullmatch(self.size)
        if not match:
            raise Refusal(400, f"size: got {self.size!r}; give WIDTHxHEIGHT in pixels, like 512x512, or auto.", param="size")
        return int(match[1]), int(match[2])


class ImageData(BaseModel):
    """One picture, by its address or as base64."""

    url: str | None = None
    b64_json: str | None = None
    revised_prompt: str | None = None


class ImagesAnswer(BaseModel):
    """created: seconds since the epoch."""

    created: int
    data: list[ImageData]
    background: Literal["opaque"] = "opaque"
    output_format: Literal["png", "jpeg", "webp"] = "png"
    quality: Literal["low", "medium", "high", "xhigh", "max"] = "medium"
    size: str
    usage: dict[str, Any]


class Model(BaseModel):
    """One model.  created: when its file was last changed."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "local"


class ModelList(BaseModel):
    """Every model."""

    object: Literal["list"] = "list"
    data: list[Model]


def edit_mask(picture: Image, mask: Image | None) -> Image | None:
    """What is to be drawn anew, white, mode "L"; None for the whole picture.

    As with OpenAI it is what is transparent in the mask, or without one in the picture.   Raises Refusal.
    """
    if mask is None and not _has_alpha(picture):
        return None
    shown = mask or picture
    if not _has_alpha(shown):
        raise Refusal(400, "mask: it has no transparency; send a PNG that is transparent where the picture is to change.", param="mask")
    if shown.size != picture.size:
        sizes = f"mask: it is {shown.width}x{shown.height}, the picture {picture.width}x{picture.height}"
        raise Refusal(400, f"{sizes}; send the same size.", param="mask")
    drawn = ImageChops.invert(shown.convert("RGBA").getchannel("A")).point([0] * 128 + [255] * 128)
    if drawn.getextrema() == (0, 0):
        if mask is None:
            return None
        raise Refusal(400, "mask: nothing in it is transparent, so nothing would change.", param="mask")
    return drawn


def usage(tokens: int) -> dict[str, Any]:
    """What OpenAI would count.  tokens: of the prompt."""
    details = {"image_tokens": 0, "text_tokens": tokens}
    return {"input_tokens": tokens, "input_tokens_details": details, "output_tokens": 0, "total_tokens": tokens}


def encoded(image: Image, wish: ImageWish) -> bytes:
    """The picture in the format asked for."""
    return encode_picture(image, wish.output_format, quality=max(1, wish.output_compression)).data


def stream_event(kind: str, wish: ImageWish, b64_json: str, size: str, **more: Any) -> dict[str, Any]:
    """One event of a stream.  kind: "image_generation.completed", ..."""
    return {
        "type": kind,
        "b64_json": b64_json,
        "background": "opaque",
        "created_at": int(time.time()),
        "output_format": wish.output_format,
        "quality": quality_of(wish),
        "size": size,
        **more,
    }


def quality_of(wish: ImageWish) -> Literal["low", "medium", "high", "xhigh", "max"]:
    """The quality in the words that answers may have."""
    match wish.quality:
        case "low" | "medium" | "high" | "xhigh" | "max":
            return wish.quality
        case "hd":
            return "high"
    return "medium"


def _has_alpha(image: Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info

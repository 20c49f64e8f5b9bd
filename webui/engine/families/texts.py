"""The text encoders of all families: CLIP's in transformers' own layout, and OpenCLIP's in that of open_clip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from webui.catalog.ldm_layout import Cut, open_clip_place
from webui.core.errors import ModelError
from webui.engine.families.layout import read_divisor
from webui.engine.loading import TensorFile

# ViT-H is read after 23 of its 24 blocks; files that were converted back from diffusers have only those.
VIT_H_WIDTH, VIT_H_USED = 1024, 23


@dataclass(frozen=True)
class TextShape:
    """All that is needed to build a text encoder's skeleton.

    prefixes: what may stand before its names in a file.   projection: width of its pooled vector, 0 if it has none.
    open_clip: the names are open_clip's, and so is the activation.
    """

    vocabulary: int
    width: int
    inner: int
    layers: int
    heads: int
    positions: int
    projection: int = 0
    open_clip: bool = False
    prefixes: tuple[str, ...] = ("",)

    def build(self) -> CLIPTextModel | CLIPTextModelWithProjection:
        """A text encoder of this shape."""
        config = CLIPTextConfig(
            vocab_size=self.vocabulary,
            hidden_size=self.width,
            intermediate_size=self.inner,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            max_position_embeddings=self.positions,
            projection_dim=self.projection or self.width,
            hidden_act="gelu" if self.open_clip else "quick_gelu",
            bos_token_id=49406,
            eos_token_id=49407,
        )
        return CLIPTextModelWithProjection(config) if self.projection else CLIPTextModel(config)

    def name_in(self, file: TensorFile) -> Callable[[str], str | Cut]:
        """What says of a weight of the module where it is in the file."""
        prefix = _prefix(file, self.prefixes, _token_name(open_clip=self.open_clip))
        if not self.open_clip:
            return lambda ours: prefix + ours
        as_linear = prefix + "text_projection.weight" in file.names
        return lambda ours: open_clip_place(ours, prefix, as_linear=as_linear)


def read_clip_shape(file: TensorFile, prefixes: tuple[str, ...]) -> TextShape:
    """The architecture of a CLIP text encoder in transformers' layout."""
    prefix = _prefix(file, prefixes, _token_name(open_clip=False))
    vocabulary, width = file.shape(prefix + _token_name(open_clip=False), 2)
    return TextShape(
        vocabulary=vocabulary,
        width=width,
        inner=file.shape(prefix + "encoder.layers.0.mlp.fc1.weight", 2)[0],
        layers=file.count(prefix + "encoder.layers.{}."),
        heads=read_divisor(file, "text_attention_heads", max(1, width // 64), [width]),
        positions=file.shape(prefix + "embeddings.position_embedding.weight", 2)[0],
        prefixes=prefixes,
    )


def read_open_clip_shape(file: TensorFile, prefixes: tuple[str, ...], *, projects: bool) -> TextShape:
    """The architecture of an OpenCLIP text encoder.

    projects: whether its pooled vector is wanted, with all its layers; else the last is left out, which is never computed, unless
    the metadata's open_clip_layers says how many there are.
    """
    prefix = _prefix(file, prefixes, _token_name(open_clip=True))
    vocabulary, width = file.shape(prefix + _token_name(open_clip=True), 2)
    layers = file.count(prefix + "transformer.resblocks.{}.")
    used = layers if projects or (width, layers) == (VIT_H_WIDTH, VIT_H_USED) else layers - 1
    projection = prefix + "text_projection"
    if projects:
        wide = file.shape(projection + ".weight", 2)[0] if projection + ".weight" in file.names else file.shape(projection, 2)[1]
    return TextShape(
        vocabulary=vocabulary,
        width=width,
        inner=file.shape(prefix + "transformer.resblocks.0.mlp.c_fc.weight", 2)[0],
        layers=read_divisor(file, "open_clip_layers", used, ()),
        heads=read_divisor(file, "open_clip_attention_heads", max(1, width // 64), [width]),
        positions=file.shape(prefix + "positional_embedding", 2)[0],
        projection=wide if projects else 0,
        open_clip=True,
        prefixes=prefixes,
    )


def _token_name(*, open_clip: bool) -> str:
    return "token_embedding.weight" if open_clip else "embeddings.token_embedding.weight"


def _prefix(file: TensorFile, prefixes: tuple[str, ...], name: str) -> str:
    for prefix in prefixes:
        if prefix + name in file.names:
            return prefix
    raise ModelError(f"{file.path.name} has no text encoder of Stable Diffusion under {prefixes[0]!r}.")

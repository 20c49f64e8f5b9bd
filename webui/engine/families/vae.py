"""The VAE that all families share: its architecture read from the shapes of a file's tensors, and built."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from diffusers import AutoencoderKL

from webui.catalog.ldm_layout import vae_name
from webui.core.errors import ModelError
from webui.engine.families.layout import VAE, read_divisor
from webui.engine.loading import TensorFile


@dataclass(frozen=True)
class VaeShape:
    """All that is needed to build a VAE's skeleton.  prefix is not part of it: a VAE alone in a file has none."""

    channels: tuple[int, ...]
    layers: int
    latent_channels: int
    groups: int
    scaling_factor: float

    def build(self) -> AutoencoderKL:
        """A VAE of this shape."""
        levels = len(self.channels)
        return AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            block_out_channels=self.channels,
            layers_per_block=self.layers,
            latent_channels=self.latent_channels,
            norm_num_groups=self.groups,
            scaling_factor=self.scaling_factor,
        )

    def name_in(self, file: TensorFile) -> Callable[[str], str]:
        """What says of a weight of the module its name in the file."""
        prefix = vae_prefix(file)
        return lambda ours: prefix + vae_name(ours, levels=len(self.channels))


def read_vae_shape(file: TensorFile, scaling_factor: float = 0.18215) -> VaeShape:
    """The VAE's architecture; works for a whole checkpoint and for a VAE alone in a file.

    scaling_factor: what latents are multiplied with when the metadata's vae_scaling_factor does not say; a VAE cannot tell its family.
    """
    prefix = vae_prefix(file)
    levels = file.count(prefix + "encoder.down.{}.")
    if not levels:
        raise ModelError(f"{file.path.name} has no VAE of Stable Diffusion.")
    channels = tuple(file.shape(f"{prefix}encoder.down.{level}.block.0.conv1.weight", 4)[0] for level in range(levels))
    return VaeShape(
        channels=channels,
        layers=file.count(prefix + "encoder.down.0.block.{}."),
        latent_channels=file.shape(prefix + "decoder.conv_in.weight", 4)[1],
        groups=read_divisor(file, "norm_num_groups_vae", 32, channels),
        scaling_factor=_scaling_factor(file, scaling_factor),
    )


def vae_prefix(file: TensorFile) -> str:
    """What stands before the VAE's names: nothing when the file is a VAE alone."""
    return VAE if any(name.startswith(VAE) for name in file.names) else ""


def _scaling_factor(file: TensorFile, default: float) -> float:
    value = file.metadata.get("vae_scaling_factor", str(default))
    try:
        factor = float(value)
    except ValueError:
        factor = math.nan
    if not 0 < factor < math.inf:
        raise ModelError(f"{file.path.name}: its metadata 'vae_scaling_factor' is {value!r}; it must be a number above 0.")
    return factor

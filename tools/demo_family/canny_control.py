"""A ControlNet that makes the base checkpoint follow edges: a copy of its UNet's way down, joined by convolutions that begin at zero.

python -m tools.demo_family.canny_control --export                trains, and writes models/ControlNet/demo-canny.safetensors
python -m tools.demo_family.canny_control --export --further      goes on from the one that ships
Source: Zhang et al. 2023, "Adding Conditional Control to Text-to-Image Diffusion Models".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import ControlNetModel
from diffusers.models.attention_processor import AttnProcessor
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from tools.demo_family.dataset import HELD_OUT, latents_of, load, mark_of
from tools.demo_family.device import in_bfloat16
from tools.demo_family.networks import Base, alphas_cumprod, for_training, load_base, load_control
from tools.demo_family.sampling import draw, save_sheet
from tools.demo_family.scenes import SIDE
from tools.demo_family.training import Plan, Training, run_command, velocity_batch
from webui.core.paths import PROGRAM
from webui.core.preprocessors import find_preprocessor
from webui.engine.annotator_filters import FILTERS
from webui.engine.control_pictures import scale

BATCH = 16
PLAN = Plan(8.0, learning_rate=8e-4, batch=BATCH, samples=17_000, every=2.5)
EMPTY = 0.25
"""Share of pictures without a caption: more than usual, so that the edges must tell the shape."""
FIRST_STEP = 250
"""Below this time step the picture's own edges show through the noise, and there is nothing to learn from the hint's."""
HINT_WIDTHS = (8, 16, 32, 64)
TARGET = PROGRAM / "models" / "ControlNet" / "demo-canny.safetensors"
SHEET_CAPTIONS = ("", "a red cat on a yellow background", "a green apple on a white background", "a blue star at night")


def usual_numbers() -> tuple[int, float, float]:
    """The program's own resolution and thresholds of canny."""
    resolution, low, high = (slider.value for slider in find_preprocessor("canny").sliders if slider)
    return int(resolution), low, high


def edges(pixels: np.ndarray, resolution: int) -> np.ndarray:
    """(128, 128) uint8, as the program's canny makes them of a picture (128, 128, 3) and brings them to size."""
    _, low, high = usual_numbers()
    found = FILTERS["canny"](pixels, resolution, low, high)
    return scale(found, SIDE, SIDE)[..., 0]


def hints(pixels: np.ndarray, resolutions: np.ndarray) -> torch.Tensor:
    """(B, 3, 128, 128) in 0..1."""
    made = np.stack([edges(np.ascontiguousarray(one), int(resolution)) for one, resolution in zip(pixels, resolutions, strict=True)])
    return torch.from_numpy(made.astype(np.float32) / 255)[:, None].expand(-1, 3, -1, -1)


def new_control(base: Base, shown: torch.Tensor) -> ControlNetModel:
    """A copy of the base's way down.  shown: (B, 3, 128, 128), some hints.

    As usually begun, the convolutions that read the hint make lines on black a thousandth as strong as the latents, and it takes long until
    they count at all. Here each layer is scaled so that it answers with a deviation of 1, and the last with a tenth of the latents'.
    Source: Mishkin and Matas 2016, "All you need is a good init" (LSUV).
    """
    control: ControlNetModel = ControlNetModel.from_unet(base.unet, conditioning_embedding_out_channels=HINT_WIDTHS).to(base.device)
    embedding = control.controlnet_cond_embedding
    latents, shown = torch.randn(8, 4, 16, 16, generator=torch.Generator().manual_seed(0)).to(base.device), shown.to(base.device)
    with torch.no_grad():
        deviation = float(control.conv_in(latents).std())
        nn.init.normal_(embedding.conv_out.weight)
        hidden = shown
        for layer in (embedding.conv_in, *embedding.blocks):
            hidden = functional.silu(_scaled(layer, hidden, 1.0))
        _scaled(embedding.conv_out, hidden, deviation / 10)
    return control


def _scaled(layer: nn.Conv2d, inputs: torch.Tensor, deviation: float) -> torch.Tensor:
    """The layer's answers, after its weights were made such that they have this deviation."""
    nn.init.zeros_(layer.bias)
    layer.weight.mul_(deviation / layer(inputs).std())
    answers: torch.Tensor = layer(inputs)
    return answers


def train(plan: Plan, work: Path, *, further: bool = False) -> dict[str, torch.Tensor]:
    """The averaged weights."""
    torch.manual_seed(0)
    data, base, alphas = load(work), load_base(), alphas_cumprod()
    base.unet.set_attn_processor(AttnProcessor())
    latents, folder = latents_of(data, base.vae), work / ("canny-further" if further else "canny")
    control = load_control(TARGET, base.unet) if further else new_control(base, hints(data.pixels[:32], np.full(32, SIDE)))
    control = for_training(control)
    print(f"{sum(weight.numel() for weight in control.parameters()) / 1e6:.2f} M parameters, {len(data)} pictures", flush=True)

    def loss_on(rows: torch.Tensor, captions: list[str], generator: torch.Generator, weight: float = 1.0) -> torch.Tensor:
        noisy, steps, velocity = velocity_batch(latents[rows], alphas, generator, first=FIRST_STEP)
        context = base.contexts(captions)
        # Half as the program's own resolution makes them, half with a pixel of edges for each of the drawing.
        resolutions = np.where(np.arange(len(rows)) % 2, SIDE, usual_numbers()[0])
        shown = hints(data.pixels[rows.numpy()], resolutions)
        with in_bfloat16(base.device):
            answer = base.unet(noisy, steps, context, **additions(control, noisy, steps, context, shown, weight)).sample
        return functional.mse_loss(answer.float(), velocity)

    def loss_of(generator: torch.Generator) -> torch.Tensor:
        rows = torch.randint(HELD_OUT, len(data), (BATCH,), generator=generator)
        kept = torch.rand(BATCH, generator=generator) >= EMPTY
        captions = [data.captions[row] if keep else "" for row, keep in zip(rows.tolist(), kept.tolist(), strict=True)]
        return loss_on(rows, captions, generator)

    def report(model: nn.Module, step: int) -> dict[str, float]:
        rows = torch.arange(64)
        with_it, without = (float(loss_on(rows, data.captions[:64], torch.Generator().manual_seed(5), weight)) for weight in (1.0, 0.0))
        sheet(model, base, data.pixels[:6], folder / f"sheet_{step:06}.png")
        return {"held_out": round(with_it, 5), "without": round(without, 5)}

    control.train().requires_grad_(True)
    return Training(control, plan, folder, mark_of(base.vae)).run(loss_of, report)


def additions(
    control: nn.Module, noisy: torch.Tensor, steps: torch.Tensor, context: torch.Tensor, hint: torch.Tensor, weight: float = 1.0
) -> dict[str, Any]:
    """What the UNet is to be called with beside its rows."""
    down, middle = control(noisy, steps, context, hint.to(noisy.device), conditioning_scale=weight, return_dict=False)
    return {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}


def sheet(control: nn.Module, base: Base, pixels: np.ndarray, path: Path) -> None:
    """Edges of held-out pictures, what several prompts make of them, and the last prompt's pictures without the ControlNet."""
    hint = hints(pixels, np.full(len(pixels), SIDE))
    columns = [hint * 2 - 1]
    twice = torch.cat([hint, hint])
    follow = lambda noisy, steps, context: additions(control, noisy, steps, context, twice)  # noqa: E731
    columns += [draw(base.unet, base, [caption] * len(pixels), more=follow) for caption in SHEET_CAPTIONS]
    columns.append(draw(base.unet, base, [SHEET_CAPTIONS[-1]] * len(pixels)))
    save_sheet(columns, path)


def export(weights: dict[str, torch.Tensor], target: Path = TARGET) -> None:
    """In diffusers' layout as one file, in float16; its metadata says what shapes cannot."""
    unet = load_base().unet
    said = {
        "unet_attention_heads": str(unet.config["attention_head_dim"][0]),
        "norm_num_groups_unet": str(unet.config["norm_num_groups"]),
        "modelspec.title": "Demo canny ControlNet",
        "modelspec.description": "Makes demo.safetensors follow edges; trained on composed emoji; ships with the program.",
        "modelspec.license": "Apache-2.0",
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: weight.half().contiguous() for name, weight in weights.items()}, target, metadata=said)
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    run_command(__doc__, PLAN, train, export)

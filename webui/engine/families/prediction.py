"""What a UNet predicts, and on which noise levels it was trained: said in the file, beside it, or asked of the UNet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from diffusers import UNet2DConditionModel

from webui.core.errors import ModelError
from webui.core.model_paths import stem_of
from webui.engine.loading import TensorFile

V_MARKER, ZERO_SNR_MARKER = "v_pred", "ztsnr"
V_WORDS, EPS_WORDS = ("v", "v_prediction"), ("eps", "epsilon")
MAX_SIDECAR = 2**20


@dataclass(frozen=True)
class Prediction:
    """v: whether the UNet predicts v rather than the noise; None when nobody says.   zero_snr: the last noise level is pure noise."""

    v: bool | None
    zero_snr: bool


def read_prediction(file: TensorFile) -> Prediction:
    """What a .yaml of the same name says, else the file's metadata and marker tensors.  Raises ModelError for a broken .yaml."""
    metadata = file.metadata
    said = _of_word(metadata.get("prediction_type") or metadata.get("modelspec.prediction_type"))
    if V_MARKER in file.names:
        said = True
    beside = _sidecar(file.path.with_name(f"{stem_of(file.path)}.yaml"))
    zero_snr = ZERO_SNR_MARKER in file.names or metadata.get("ss_zero_terminal_snr") == "True"
    return Prediction(said if beside is None else beside, zero_snr)


def asks_for_v(unet: UNet2DConditionModel) -> bool:
    """Ask an SD 2.x UNet itself: shown 0.5 everywhere as pure noise, one that predicts noise answers about that, the other far less.

    A1111's rule: v it is when the mean of the answer minus what was shown is below -1.
    """
    shown = torch.full((1, int(unet.config["in_channels"]), 8, 8), 0.5, device=unet.device, dtype=unet.dtype)
    context = torch.full((1, 2, int(unet.config["cross_attention_dim"])), 0.5, device=unet.device, dtype=unet.dtype)
    with torch.inference_mode():
        answer = unet(shown, 999, context, return_dict=False)[0]
    return float((answer - shown[:, : answer.shape[1]]).float().mean()) < -1


def _of_word(word: str | None) -> bool | None:
    if word in V_WORDS:
        return True
    return False if word in EPS_WORDS else None


def _sidecar(path: Path) -> bool | None:
    """Whether a configuration in the original's manner is for v; None when there is none, or it does not say."""
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SIDECAR + 1)
        if len(content) > MAX_SIDECAR:
            raise ModelError(f"{path.name} is larger than a configuration can be ({MAX_SIDECAR} bytes). Take it away.")
        parameters = _within(yaml.safe_load(content), "model", "params")
    except (yaml.YAMLError, OSError, ValueError, RecursionError) as error:
        reason = str(error).partition("\n")[0]
        raise ModelError(f"{path.name}, beside its checkpoint, cannot be read ({reason}). Correct it, or take it away.") from None
    said = _of_word(str(_within(parameters, "parameterization")))
    if said is not None:
        return said
    scaling = str(_within(parameters, "denoiser_config", "params", "scaling_config", "target"))
    if scaling.endswith(".VScaling"):
        return True
    return False if scaling.endswith(".EpsScaling") else None


def _within(content: Any, *keys: str) -> Any:
    """What stands under these keys, one within another; None where something else stands on the way."""
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content

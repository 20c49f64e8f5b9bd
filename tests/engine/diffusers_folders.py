"""Checkpoints as folders, written by diffusers and transformers themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.engine.tiny_families import FamilyModel
from tests.engine.tiny_models import TinyModel


def write_folder(path: Path, model: TinyModel | FamilyModel, *, scheduler: dict[str, Any] | None = None, **options: Any) -> Path:
    """Each part of a model in a folder of its own, as DiffusionPipeline.save_pretrained leaves them.

    scheduler: its configuration; by default it says what the model predicts.   options: of save_pretrained.
    """
    encoders = (model.text_encoder,) if isinstance(model, TinyModel) else model.text_encoders
    prediction = model.shape.prediction if isinstance(model, TinyModel) else model.prediction
    # The refiner's only one is its second.
    names = ("text_encoder", "text_encoder_2") if len(encoders) == 2 else (_name_of_the_only(model),)
    for name, part in (("unet", model.unet), ("vae", model.vae), *zip(names, encoders, strict=True)):
        part.save_pretrained(path / name, **(options if name in ("unet", "vae") else {}))
    (path / "scheduler").mkdir()
    (path / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler or {"prediction_type": prediction}))
    (path / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2D"]}))
    return path


def _name_of_the_only(model: TinyModel | FamilyModel) -> str:
    return "text_encoder_2" if "add_embedding.linear_1.weight" in model.unet.state_dict() else "text_encoder"

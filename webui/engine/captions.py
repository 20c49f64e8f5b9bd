"""Pictures in words, by a BLIP model that lies in a folder in transformers' layout.

Source: Li et al. 2022, "BLIP" (arXiv:2201.12086). Read without any code from the folder, from safetensors only.
"""

from __future__ import annotations

from pathlib import Path

import torch
from PIL.Image import Image
from safetensors import SafetensorError
from transformers import AutoTokenizer, BlipForConditionalGeneration, BlipImageProcessor

from webui.core.errors import ModelError
from webui.core.setting_parts.interrogation import InterrogationSettings


@torch.inference_mode()
def caption(picture: Image, folder: Path, device: torch.device, settings: InterrogationSettings) -> str:
    """One sentence on a picture.  Raises ModelError when the folder's files cannot be used."""
    try:
        options = {"local_files_only": True, "trust_remote_code": False}
        tokenizer = AutoTokenizer.from_pretrained(folder, **options)
        processor = BlipImageProcessor.from_pretrained(folder, **options)
        model = BlipForConditionalGeneration.from_pretrained(folder, use_safetensors=True, **options).to(device).eval()
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError, SafetensorError) as error:
        raise ModelError(f"{folder.name} cannot be used as a captioner: {str(error).splitlines()[0][:300]}") from None
    pixels = processor(images=picture.convert("RGB"), return_tensors="pt")["pixel_values"].to(device)
    longest = settings.interrogate_clip_max_length
    tokens = model.generate(
        pixel_values=pixels,
        min_new_tokens=min(settings.interrogate_clip_min_length, longest),
        max_new_tokens=longest,
        num_beams=settings.interrogate_clip_num_beams,
    )
    return str(tokenizer.decode(tokens[0], skip_special_tokens=True)).strip()

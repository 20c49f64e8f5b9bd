"""The settings: declared once under A1111's option names, read as a frozen snapshot."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError, field_validator

from webui.core.errors import InvalidRequest, UnknownName
from webui.core.parameters import parameter
from webui.core.request import invalid
from webui.core.setting_parts.interrogation import InterrogationSettings
from webui.core.setting_parts.saving import SavingSettings
from webui.core.setting_types import Names, Whitespace
from webui.core.upscalers import FACE_RESTORERS

# The settings under these headings can change what is drawn; only they may come from a picture or belong to one job.
PICTURE_SECTIONS = frozenset({
    "Stable Diffusion", "Stable Diffusion XL", "Sampler parameters", "Optimizations", "Compatibility", "Upscaling", "Face restoration",
})  # fmt: skip

REFINER_PASSES = ("first pass", "second pass", "both passes")

# A whole number stays one: A1111 writes into the infotext what it was given, "5" or "5.0".
Number = int | float


class Settings(SavingSettings, InterrogationSettings):
    """All settings at one moment. A job keeps the snapshot it was submitted with."""

    sd_model_checkpoint: str = parameter(
        "", title="Checkpoint", help="The model that draws when a request names none.", section="Stable Diffusion"
    )
    sd_vae: str = parameter(
        "Automatic", title="VAE", section="Stable Diffusion",
        help="Automatic: a VAE file named like the checkpoint, else the checkpoint's own. None: always its own.",
    )  # fmt: skip
    CLIP_stop_at_last_layers: int = parameter(
        1, title="Clip skip", help="Stop the text encoder this many layers early; 1 uses all.",
        minimum=1, maximum=12, step=1, infotext="Clip skip", section="Stable Diffusion",
    )  # fmt: skip
    sdxl_clip_l_skip: bool = parameter(
        False, title="Clip skip for SDXL", help="SDXL's first text encoder heeds the clip skip too.", section="Stable Diffusion"
    )
    sdxl_crop_top: int = parameter(
        0, title="Crop from top", minimum=0, maximum=8192, step=1, section="Stable Diffusion XL",
        help="SDXL is told that so many pixels above the picture were cut away.",
    )  # fmt: skip
    sdxl_crop_left: int = parameter(
        0, title="Crop from left", minimum=0, maximum=8192, step=1, section="Stable Diffusion XL",
        help="SDXL is told that so many pixels left of the picture were cut away.",
    )  # fmt: skip
    sdxl_refiner_low_aesthetic_score: float = parameter(
        2.5, title="Aesthetic score for the negative prompt", minimum=0, maximum=10, step=0.1, section="Stable Diffusion XL",
        help="How beautiful the SDXL refiner is told that the picture is not to be.",
    )  # fmt: skip
    sdxl_refiner_high_aesthetic_score: float = parameter(
        6.0, title="Aesthetic score", minimum=0, maximum=10, step=0.1, section="Stable Diffusion XL",
        help="How beautiful the SDXL refiner is told that the picture is to be.",
    )  # fmt: skip
    comma_padding_backtrack: int = parameter(
        20, title="Prompt comma backtrack", minimum=0, maximum=74, step=1, section="Stable Diffusion",
        help="A prompt longer than 75 tokens is cut at a comma if one is this near.",
    )  # fmt: skip
    emphasis: str = parameter(
        "Original", title="Emphasis mode", choices=("None", "Ignore", "Original", "No norm"), infotext="Emphasis",
        help="What (words:1.3) do to the text encoding.", section="Stable Diffusion",
    )  # fmt: skip
    randn_source: str = parameter(
        "GPU", title="Random number generator", choices=("GPU", "CPU", "NV"), infotext="RNG", section="Stable Diffusion",
        help="Where noise is drawn. CPU: the same picture on every machine. NV: the same as on an NVIDIA card.",
    )  # fmt: skip
    enable_prompt_comments: bool = parameter(
        True, title="Comments in prompts", help="What follows a # in a line is left out.", section="Stable Diffusion"
    )
    wildcards: bool = parameter(
        True, title="Wildcards in prompts", help="__name__ and {a|b} are drawn anew for every picture.", section="Stable Diffusion"
    )
    tiling: bool = parameter(
        False, title="Tiling", help="Pictures whose opposite edges fit together.", infotext="Tiling", section="Stable Diffusion"
    )
    sd_noise_schedule: str = parameter(
        "Default", title="Noise schedule", choices=("Default", "Zero Terminal SNR"), infotext="Noise Schedule",
        help="Zero Terminal SNR lets models trained for it draw truly dark and bright pictures.", section="Sampler parameters",
    )  # fmt: skip
    eta_ancestral: Number = parameter(
        1.0, title="Eta for ancestral samplers", help="How much fresh noise each step adds; 0 adds none.",
        minimum=0.0, maximum=1.0, step=0.01, infotext="Eta", section="Sampler parameters",
    )  # fmt: skip
    eta_ddim: Number = parameter(
        0.0, title="Eta for DDIM", help="How much fresh noise each step adds; 0 adds none.",
        minimum=0.0, maximum=1.0, step=0.01, infotext="Eta DDIM", section="Sampler parameters",
    )  # fmt: skip
    s_churn: Number = parameter(
        0.0, title="Sigma churn", help="Noise added before a step, by Euler, Heun and DPM2; 0 adds none.",
        minimum=0.0, maximum=100.0, step=0.01, infotext="Sigma churn", section="Sampler parameters",
    )  # fmt: skip
    s_tmin: Number = parameter(
        0.0, title="Sigma tmin", help="Churn only above this noise level.",
        minimum=0.0, maximum=10.0, step=0.01, infotext="Sigma tmin", section="Sampler parameters",
    )  # fmt: skip
    s_tmax: Number = parameter(
        0.0, title="Sigma tmax", help="Churn only below this noise level; 0: no limit.",
        minimum=0.0, maximum=999.0, step=0.01, infotext="Sigma tmax", section="Sampler parameters",
    )  # fmt: skip
    s_noise: Number = parameter(
        1.0, title="Sigma noise", help="Strength of the noise that samplers add.",
        minimum=0.0, maximum=2.0, step=0.001, infotext="Sigma noise", section="Sampler parameters",
    )  # fmt: skip
    sigma_min: Number = parameter(
        0.0, title="Sigma min", help="The lowest noise level of a schedule; 0: the model's.",
        minimum=0.0, maximum=1000.0, step=0.01, infotext="Schedule min sigma", section="Sampler parameters",
    )  # fmt: skip
    sigma_max: Number = parameter(
        0.0, title="Sigma max", help="The highest noise level of a schedule; 0: the model's.",
        minimum=0.0, maximum=1e6, step=0.01, infotext="Schedule max sigma", section="Sampler parameters",
    )  # fmt: skip
    rho: Number = parameter(
        0.0, title="Rho", help="How much a schedule favours low noise; 0: the schedule's own.",
        minimum=0.0, maximum=1000.0, step=0.01, infotext="Schedule rho", section="Sampler parameters",
    )  # fmt: skip
    beta_dist_alpha: Number = parameter(
        0.6, title="Beta schedule alpha", help="Steps where noise is high: fewer when greater.",
        minimum=0.01, maximum=100.0, step=0.01, infotext="Beta schedule alpha", section="Sampler parameters",
    )  # fmt: skip
    beta_dist_beta: Number = parameter(
        0.6, title="Beta schedule beta", help="Steps where noise is low: fewer when greater.",
        minimum=0.01, maximum=100.0, step=0.01, infotext="Beta schedule beta", section="Sampler parameters",
    )  # fmt: skip
    img2img_fix_steps: bool = parameter(
        False, title="With img2img, do exactly the steps asked for", help="Otherwise a weaker denoising does fewer.",
        section="Sampler parameters",
    )  # fmt: skip
    img2img_extra_noise: Number = parameter(
        0.0, title="Extra noise for img2img and hires fix", help="More of it adds detail; it should stay below the denoising strength.",
        minimum=0.0, maximum=1.0, step=0.01, infotext="Extra noise", section="Sampler parameters",
    )  # fmt: skip
    img2img_background_color: str = parameter(
        "#ffffff", title="Background of transparent pictures", help="#rrggbb; what img2img lays under them.", section="Stable Diffusion"
    )
    initial_noise_multiplier: Number = parameter(
        1.0, title="Noise multiplier for img2img", help="Strength of the noise that is laid over a picture.",
        minimum=0.0, maximum=1.5, step=0.001, infotext="Noise multiplier", section="Sampler parameters",
    )  # fmt: skip
    inpainting_mask_weight: Number = parameter(
        1.0, title="Inpainting conditioning mask strength", help="How much of what is masked is hidden from an inpainting model.",
        minimum=0.0, maximum=1.0, step=0.01, infotext="Conditional mask weight", section="Stable Diffusion",
    )  # fmt: skip
    img2img_color_correction: bool = parameter(
        False, title="Colour correction", help="Give what is drawn from a picture the colours of that picture.", section="Stable Diffusion"
    )
    hires_fix_refiner_pass: str = parameter(
        "second pass", title="Refiner with a hires fix", help="In which pass the refiner takes over.", choices=REFINER_PASSES,
        infotext="Hires refiner", section="Stable Diffusion",
    )  # fmt: skip
    refiner_switch_by_sample_steps: bool = parameter(
        False, title="Switch to the refiner by steps", help="As before A1111 1.9: by the share of steps, not by the noise that is left.",
        infotext="Refiner switch by sampling steps", section="Stable Diffusion",
    )  # fmt: skip
    eta_noise_seed_delta: int = parameter(
        0, title="Eta noise seed delta", help="Added to the seed for the noise of later steps; NovelAI's pictures need 31337.",
        minimum=0, maximum=2**63 - 1, step=1, infotext="ENSD", section="Sampler parameters",
    )  # fmt: skip
    always_discard_next_to_last_sigma: bool = parameter(
        False, title="Always discard next-to-last sigma", help="Leave the last but one noise level out.",
        infotext="Discard penultimate sigma", section="Sampler parameters",
    )  # fmt: skip
    sgm_noise_multiplier: bool = parameter(
        False, title="SGM noise multiplier", help="Start from noise as SDXL's own code does.",
        infotext="SGM noise multiplier", section="Sampler parameters",
    )  # fmt: skip
    uni_pc_variant: str = parameter(
        "bh1", title="UniPC variant", choices=("bh1", "bh2", "vary_coeff"), help="UniPC's formula.",
        infotext="UniPC variant", section="Sampler parameters",
    )  # fmt: skip
    uni_pc_skip_type: str = parameter(
        "time_uniform", title="UniPC skip type", choices=("time_uniform", "time_quadratic", "logSNR"), help="UniPC's spacing.",
        infotext="UniPC skip type", section="Sampler parameters",
    )  # fmt: skip
    uni_pc_order: int = parameter(
        3, title="UniPC order", help="How many earlier steps a step looks at; less than the number of steps.",
        minimum=1, maximum=50, step=1, infotext="UniPC order", section="Sampler parameters",
    )  # fmt: skip
    uni_pc_lower_order_final: bool = parameter(
        True, title="UniPC lower order final", help="Look at fewer steps in the last ones.",
        infotext="UniPC lower order final", section="Sampler parameters",
    )  # fmt: skip
    s_min_uncond: Number = parameter(
        0.0, title="Negative guidance minimum sigma", help="Leave the negative prompt out of every second step below this level; faster.",
        minimum=0.0, maximum=15.0, step=0.01, infotext="NGMS", section="Optimizations",
    )  # fmt: skip
    s_min_uncond_all: bool = parameter(
        False, title="NGMS in all steps", help="Not only in every second one.", infotext="NGMS all steps", section="Optimizations"
    )
    skip_early_cond: Number = parameter(
        0.0, title="Ignore negative prompt during early sampling", help="For this part of the steps; faster, and more varied.",
        minimum=0.0, maximum=1.0, step=0.01, infotext="Skip Early CFG", section="Optimizations",
    )  # fmt: skip
    pad_cond_uncond: bool = parameter(
        False, title="Pad prompts to the same length", help="With the encoding of an empty prompt, so that both go in one pass.",
        infotext="Pad conds", section="Optimizations",
    )  # fmt: skip
    pad_cond_uncond_v0: bool = parameter(
        False, title="Pad prompts to the same length (old)", help="By repeating the negative prompt's last vector, or cutting it off.",
        infotext="Pad conds v0", section="Optimizations",
    )  # fmt: skip
    use_old_emphasis_implementation: bool = parameter(
        False, title="Old emphasis", help="Brackets as in 2022: one prompt of 75 tokens.", section="Compatibility"
    )
    use_old_karras_scheduler_sigmas: bool = parameter(
        False, title="Old Karras sigmas", help="From 0.1 to 10 whatever the model.", section="Compatibility"
    )
    use_old_scheduling: bool = parameter(
        False, title="Old prompt editing timelines", help="Hires passes count steps from 0 as the first pass does.",
        infotext="Old prompt editing timelines", section="Compatibility",
    )  # fmt: skip
    use_downcasted_alpha_bar: bool = parameter(
        False, title="Downcast alphas_cumprod", help="Round the noise levels to 16 bits, as A1111 before 1.8 did with half models.",
        infotext="Downcast alphas_cumprod", section="Compatibility",
    )  # fmt: skip
    ESRGAN_tile: int = parameter(
        192, title="Tile size of upscalers", help="Pixels; a picture is enlarged in pieces of this size. 0: as a whole.",
        minimum=0, maximum=4096, step=16, slider=(0, 512), section="Upscaling",
    )  # fmt: skip
    ESRGAN_tile_overlap: int = parameter(
        8, title="Tile overlap of upscalers", help="Pixels; too few show seams.", minimum=0, maximum=256, step=1, slider=(0, 48),
        section="Upscaling",
    )  # fmt: skip
    DAT_tile: int = parameter(
        192, title="Tile size of DAT upscalers", help="As above, for files in models/DAT.", minimum=0, maximum=4096, step=16,
        slider=(0, 512), section="Upscaling",
    )  # fmt: skip
    DAT_tile_overlap: int = parameter(
        8, title="Tile overlap of DAT upscalers", help="As above.", minimum=0, maximum=256, step=1, slider=(0, 48), section="Upscaling"
    )
    upscaler_for_img2img: str = parameter(
        "None", title="Upscaler for img2img", help="Brings a picture to a larger size before it is drawn over. None: Lanczos.",
        max_length=512, section="Upscaling",
    )  # fmt: skip
    face_restoration: bool = parameter(
        False, title="Restore faces", help="Mend the faces in every picture drawn.", infotext="Face restoration", section="Face restoration"
    )
    face_restoration_model: str = parameter(
        "CodeFormer", title="Face restoration model", choices=FACE_RESTORERS, help="Its file is in models/Codeformer or models/GFPGAN.",
        section="Face restoration",
    )  # fmt: skip
    code_former_weight: Number = parameter(
        0.5, title="CodeFormer weight", help="0: the strongest effect; 1: the weakest.", minimum=0.0, maximum=1.0, step=0.01,
        section="Face restoration",
    )  # fmt: skip
    return_grid: bool = parameter(True, title="Show the grid", help="Before the pictures of a job that has several.", section="Gallery")
    control_net_no_detectmap: bool = parameter(
        False, title="Do not append control pictures", help="To the pictures that the API answers with.", section="ControlNet"
    )
    control_net_unit_count: int = parameter(
        3, title="ControlNet units", help="How many the page shows.", minimum=1, maximum=10, step=1, section="ControlNet"
    )
    add_model_name_to_info: bool = parameter(True, title="Write the model's name", help="Into the infotext.", section="Infotext")
    add_model_hash_to_info: bool = parameter(True, title="Write the model's hash", help="Into the infotext.", section="Infotext")
    add_version_to_infotext: bool = parameter(True, title="Write the program's version", help="Into the infotext.", section="Infotext")
    model_download_enable: bool = parameter(
        False, title="Download models", help="Let jobs fetch model files from the hosts below.", section="Limits"
    )
    model_download_hosts: str = parameter(
        "huggingface.co, civitai.com, github.com", title="Hosts of models", max_length=2000, section="Limits",
        help="From which models may be fetched, and from all hosts below them; what they redirect to is fetched too. *: any.",
    )  # fmt: skip
    model_download_hub: str = parameter(
        "https://huggingface.co", title="Hub of models", help="Where owner/name/file is looked for.", max_length=500, section="Limits"
    )
    model_download_limit_gb: Number = parameter(
        50.0, title="Largest download", help="Gigabytes.", minimum=0.0, maximum=10_000.0, step=1.0, section="Limits"
    )
    live_previews_enable: bool = parameter(
        True, title="Show live previews", help="While a picture is being drawn.", section="Live previews"
    )
    show_progress_every_n_steps: int = parameter(
        1, title="Preview every so many steps", help="-1: only between batches.", minimum=-1, maximum=32, step=1, section="Live previews"
    )
    show_progress_type: str = parameter(
        "Approx cheap", title="Preview method", choices=("Full", "Approx cheap", "TAESD"), section="Live previews",
        help="Full decodes with the VAE; TAESD needs its weights in models/VAE-approx.",
    )  # fmt: skip

    keyedit_precision_attention: float = parameter(
        0.1, title="Step of (emphasis:1.1)", help="By which Ctrl+Up and Ctrl+Down change the weight of words in a prompt.",
        minimum=0.01, maximum=0.2, step=0.01, section="Prompt editing",
    )  # fmt: skip
    keyedit_precision_extra: float = parameter(
        0.05, title="Step of <extra networks:0.9>", help="By which Ctrl+Up and Ctrl+Down change the weight of a LoRA in a prompt.",
        minimum=0.01, maximum=0.2, step=0.01, section="Prompt editing",
    )  # fmt: skip
    keyedit_delimiters: str = parameter(
        r".,\/!?%^*;:{}=`~() ", title="Word delimiters", help="Where a word ends when nothing is selected.",
        section="Prompt editing",
    )  # fmt: skip
    keyedit_delimiters_whitespace: Whitespace = parameter(
        ("Tab", "Carriage Return", "Line Feed"), title="Whitespace that ends a word", max_length=10, section="Prompt editing",
        help="Beside the delimiters above: Tab, Carriage Return, Line Feed; commas between them.",
    )  # fmt: skip
    keyedit_move: bool = parameter(
        True, title="Alt+Left and Alt+Right move pieces", help="What stands between two commas of a prompt.", section="Prompt editing"
    )

    max_job_cost: Number = parameter(
        0.0, title="Largest job", help="Megapixels × steps × pictures that one job may cost; 0: any. 512x512 in 20 steps costs 5.2.",
        minimum=0.0, maximum=1e9, step=1.0, section="Limits",
    )  # fmt: skip
    max_jobs_of_client: int = parameter(
        0, title="Jobs of a client", help="How many of one client of the API may wait or run at once; 0: any.",
        minimum=0, maximum=100_000, step=1, section="Limits",
    )  # fmt: skip
    api_enable_requests: bool = parameter(
        False, title="Fetch pictures from URLs", help="Let clients of the API name pictures by http:// and https:// URLs.", section="Limits"
    )
    api_forbid_local_requests: bool = parameter(
        True, title="Forbid local URLs", help="Never fetch from this machine or its own network.", section="Limits"
    )
    api_useragent: str = parameter(
        "", title="User agent", help="What is sent as User-Agent when a picture is fetched.", max_length=200, section="Limits"
    )

    disabled_extensions: Names = parameter(
        (), title="Disabled extensions", max_length=1000, section="Extensions",
        help="Folders under extensions/ that are not loaded at the next start; commas between them.",
    )  # fmt: skip
    extensions_index: str = parameter(
        "", title="Index of extensions", max_length=2000, section="Extensions",
        help="What the Extensions tab lists as available: an https:// address, or a JSON file in the data folder.",
    )  # fmt: skip

    localization: str = parameter(
        "Auto", title="Language", max_length=100, section="User interface",
        help="Of the page: the words of localizations/NAME.json. Auto: the browser's own language, where it is there. None: English.",
    )  # fmt: skip
    disable_all_extensions: str = parameter(
        "none", title="Disable all extensions", choices=("none", "extra", "all"), section="Extensions",
        help="At the next start. A1111 tells those it ships from others; here both words mean all.",
    )  # fmt: skip
    # Complete for the extensions that are loaded; those of others are kept as they were stored.
    extension_settings: Mapping[str, Any] = Field(default={}, json_schema_extra={"kept_for_others": True})

    @field_validator("api_useragent")
    @classmethod
    def _one_header_line(cls, value: str) -> str:
        if not (value.isascii() and value.isprintable()):
            raise InvalidRequest(f"api_useragent: got {value[:40]!r}; a header is one line of ASCII letters.")
        return value

    @field_validator("img2img_background_color")
    @classmethod
    def _a_colour(cls, value: str) -> str:
        if not re.fullmatch("#[0-9a-fA-F]{6}", value):
            raise InvalidRequest(f"img2img_background_color: got {value[:40]!r}; write six hexadecimal digits behind a #, like #ffffff.")
        return value

    def changed(self, changes: Mapping[str, Any]) -> Settings:
        """A validated copy with these settings changed.  Raises InvalidRequest; then nothing is changed."""
        if not changes:
            return self
        for key in changes:
            if key not in type(self).model_fields:
                raise UnknownName("setting", key, type(self).model_fields)
        try:
            return type(self).model_validate({**self.model_dump(), **changes})
        except ValidationError as error:
            raise invalid(error) from None

"""A1111's wire models: the names, types and defaults that its clients know. Meaning is given to them in translate.py only."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from webui.core.extras import MAX_NAME, MAX_STEPS


class _Wishes(BaseModel):
    """What txt2img and img2img begin with; their own fields follow. The order is that in which A1111 repeats them."""

    prompt: str | list[str] = ""
    negative_prompt: str | list[str] = ""
    styles: list[str] | None = None
    seed: int = -1
    subseed: int = -1
    subseed_strength: float = 0
    seed_resize_from_h: int = -1
    seed_resize_from_w: int = -1
    sampler_name: str | None = None
    scheduler: str | None = None
    batch_size: int = 1
    n_iter: int = 1
    steps: int = 50
    cfg_scale: float = 7.0
    width: int = 512
    height: int = 512
    restore_faces: bool | None = None
    tiling: bool | None = None
    do_not_save_samples: bool = False
    do_not_save_grid: bool = False
    eta: float | None = None
    denoising_strength: float = 0.75
    s_min_uncond: float | None = None
    s_churn: float | None = None
    s_tmax: float | None = None
    s_tmin: float | None = None
    s_noise: float | None = None
    override_settings: dict[str, Any] | None = None
    override_settings_restore_afterwards: bool = True
    refiner_checkpoint: str | None = None
    refiner_switch_at: float | None = None
    disable_extra_networks: bool = False
    firstpass_image: str | None = None
    comments: dict[str, Any] | None = None


class _Handling(BaseModel):
    """What both end with: how the job is handled."""

    force_task_id: str | None = None
    sampler_index: str = "Euler"
    script_name: str | None = None
    script_args: list[Any] | dict[str, Any] = Field(default_factory=list)
    send_images: bool = True
    save_images: bool = False
    alwayson_scripts: dict[str, Any] = Field(default_factory=dict)
    infotext: str | None = None


class DrawRequest(_Handling, _Wishes):
    """What txt2img and img2img have in common. Unknown keys are ignored; null means the default."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _null_means_default(cls, values: Any) -> Any:
        """Also for a seed: in A1111 an empty one is a random one."""
        if not isinstance(values, dict):
            return values
        return {key: value for key, value in values.items() if value is not None and not (key == "seed" and value == "")}


class _Hires(_Wishes):
    """The second pass."""

    enable_hr: bool = False
    firstphase_width: int = 0
    firstphase_height: int = 0
    hr_scale: float = 2.0
    hr_upscaler: str | None = None
    hr_second_pass_steps: int = 0
    hr_resize_x: int = 0
    hr_resize_y: int = 0
    hr_checkpoint_name: str | None = None
    hr_sampler_name: str | None = None
    hr_scheduler: str | None = None
    hr_prompt: str = ""
    hr_negative_prompt: str = ""


class Txt2ImgRequest(DrawRequest, _Hires):
    """What /sdapi/v1/txt2img accepts."""


class _Pictures(_Wishes):
    """init_images, mask: base64 of picture files.   resize_mode, inpainting_fill: A1111's numbers."""

    init_images: list[str] | None = None
    resize_mode: int = 0
    image_cfg_scale: float | None = None
    mask: str | None = None
    mask_blur_x: int = 4
    mask_blur_y: int = 4
    mask_blur: int | None = None
    mask_round: bool = True
    inpainting_fill: int = 0
    inpaint_full_res: bool = True
    inpaint_full_res_padding: int = 0
    inpainting_mask_invert: int = 0
    initial_noise_multiplier: float | None = None
    latent_mask: str | None = None
    include_init_images: bool = False


class Img2ImgRequest(DrawRequest, _Pictures):
    """What /sdapi/v1/img2img accepts."""


class Txt2ImgResponse(BaseModel):
    """images: base64 of PNG files, without a prefix.   info: JSON text."""

    images: list[str]
    parameters: dict[str, Any]
    info: str


class PostprocessorAsked(BaseModel):
    """A step that is to work on pictures.  args: values of its controls by name; what is left out is as declared."""

    name: str = Field(max_length=MAX_NAME)
    args: dict[str, str | bool | int | float | list[str]] = Field(default_factory=dict)


class ExtrasOptions(BaseModel):
    """What to do with pictures. Unknown keys are ignored; null means the default."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    resize_mode: int = 0
    show_extras_results: bool = True
    gfpgan_visibility: float = 0
    codeformer_visibility: float = 0
    codeformer_weight: float = 0
    upscaling_resize: float = 2
    upscaling_resize_w: int = 512
    upscaling_resize_h: int = 512
    upscaling_crop: bool = True
    upscaler_1: str = "None"
    upscaler_2: str = "None"
    extras_upscaler_2_visibility: float = 0
    upscale_first: bool = False
    postprocessors: list[PostprocessorAsked] = Field(default_factory=list, max_length=MAX_STEPS)

    @model_validator(mode="before")
    @classmethod
    def _null_means_default(cls, values: Any) -> Any:
        return {key: value for key, value in values.items() if value is not None} if isinstance(values, dict) else values


class ExtrasSingleRequest(ExtrasOptions):
    """What /sdapi/v1/extra-single-image accepts.  image: base64 of a picture file."""

    image: str = ""


class ExtrasFile(BaseModel):
    """One picture of a batch.  data: base64 of a picture file."""

    data: str
    name: str = ""


class ExtrasBatchRequest(ExtrasOptions):
    """What /sdapi/v1/extra-batch-images accepts."""

    imageList: list[ExtrasFile]


class ExtrasSingleResponse(BaseModel):
    """html_info: what was done, as HTML.   image: base64 of a PNG."""

    html_info: str
    image: str


class ExtrasBatchResponse(BaseModel):
    """As ExtrasSingleResponse; html_info is the last picture's."""

    html_info: str
    images: list[str]


class UpscalerItem(BaseModel):
    """One upscaler.  model_*: null for those that need no file."""

    name: str
    model_name: str | None
    model_path: str | None
    model_url: str | None = None
    scale: float | None = 4


class NamedItem(BaseModel):
    """Something that has a name and nothing else to tell."""

    name: str


class FaceRestorerItem(BaseModel):
    """One face restorer.  cmd_dir: the folder of its file, null where there is none."""

    name: str
    cmd_dir: str | None


class RealesrganItem(BaseModel):
    """One file for Real-ESRGAN."""

    name: str
    path: str | None
    scale: int | None


class PngInfoRequest(BaseModel):
    """What /sdapi/v1/png-info accepts.  image: base64 of a picture file."""

    image: str = ""


class PngInfoResponse(BaseModel):
    """info: the infotext, "" if there is none.   items: the file's other texts.   parameters: the infotext's fields."""

    info: str
    items: dict[str, Any]
    parameters: dict[str, Any]


class ProgressState(BaseModel):
    """Where the running job is."""

    skipped: bool = False
    interrupted: bool = False
    stopping_generation: bool = False
    job: str = ""
    job_count: int = 0
    job_timestamp: str = "0"
    job_no: int = 0
    sampling_step: int = 0
    sampling_steps: int = 0


class ProgressResponse(BaseModel):
    """progress: 0..1.   eta_relative: seconds.   current_image: base64 of a PNG."""

    progress: float = 0.0
    eta_relative: float = 0.0
    state: ProgressState = Field(default_factory=ProgressState)
    current_image: str | None = None
    textinfo: str | None = None


class SamplerItem(BaseModel):
    """One sampling method."""

    name: str
    aliases: list[str]
    options: dict[str, str]


class SchedulerItem(BaseModel):
    """One spacing of noise levels."""

    name: str
    label: str
    aliases: list[str] | None
    default_rho: float
    need_inner_model: bool


class SDModelItem(BaseModel):
    """One checkpoint.  hash, sha256: null until the file has been hashed.   config: a .yaml file beside it."""

    title: str
    model_name: str
    hash: str | None
    sha256: str | None
    filename: str
    config: str | None


class SDVaeItem(BaseModel):
    """One VAE file."""

    model_name: str
    filename: str


class ScriptsList(BaseModel):
    """Names of scripts, in small letters."""

    txt2img: list[str]
    img2img: list[str]


class ScriptArgument(BaseModel):
    """One of a script's arguments; one without a label says nothing."""

    label: str | None = None
    value: Any | None = None
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    choices: list[str] | None = None


class PostprocessorInfo(BaseModel):
    """A step of Extras beside enlarging and mending.  order: when it works; enlarging is 1000.   args: its controls by name."""

    name: str
    order: int
    args: dict[str, ScriptArgument]


class ScriptInfo(BaseModel):
    """One script of a tab."""

    name: str
    is_alwayson: bool
    is_img2img: bool
    args: list[ScriptArgument]


class MemoryResponse(BaseModel):
    """Bytes."""

    ram: dict[str, Any]
    cuda: dict[str, Any]

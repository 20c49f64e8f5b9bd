"""Where everything lies on disk. Fixed at start; no request can change it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PROGRAM = Path(__file__).resolve().parents[2]
# Checkpoints of the demo family beside the demo itself; what the user has goes before them.
DEMO_VARIANTS = ("demo-depth.safetensors", "demo-inpainting.safetensors")


@dataclass(frozen=True)
class Paths:
    """The folders of one running program. Model folders are lists: the standard one first, then those given by flags.

    demo: the checkpoint that ships with the program, found even when the data folder is elsewhere.   shipped: the folder of A1111's
    folders in which all lies that ships, None for nothing but the demo.
    """

    data: Path
    demo: Path
    outputs: Path
    checkpoints: tuple[Path, ...]
    vaes: tuple[Path, ...]
    loras: tuple[Path, ...]
    embeddings: tuple[Path, ...]
    preview_decoders: tuple[Path, ...]
    extensions: Path
    hypernetworks: tuple[Path, ...] = ()
    depth_models: tuple[Path, ...] = ()
    controls: tuple[Path, ...] = ()
    shipped: Path | None = None

    @property
    def demo_family(self) -> tuple[Path, ...]:
        """The checkpoints that ship with the program, the demo first."""
        return (self.demo, *(self.demo.with_name(name) for name in DEMO_VARIANTS))

    @property
    def models(self) -> Path:
        """What A1111 keeps a folder a kind in: ESRGAN, GFPGAN, ..."""
        return self.data / "models"

    @property
    def model_folders(self) -> tuple[Path, ...]:
        """Every folder in which models are looked for."""
        return (
            self.models, *self.checkpoints, *self.vaes, *self.loras, *self.embeddings, *self.hypernetworks, *self.depth_models,
            *self.controls, *self.preview_decoders,
        )  # fmt: skip

    @property
    def converted(self) -> Path:
        """Weights of other formats as safetensors, made once."""
        return self.data / "state" / "converted"

    @property
    def config(self) -> Path:
        """The settings file."""
        return self.data / "config.json"

    @property
    def styles(self) -> Path:
        """The stored styles, as A1111 keeps them."""
        return self.data / "styles.csv"

    @property
    def wildcards(self) -> Path:
        """Lists that prompts draw from."""
        return self.data / "wildcards"

    @property
    def tags(self) -> Path:
        """Lists of tags that prompts are completed with."""
        return self.data / "tags"

    @property
    def localizations(self) -> Path:
        """The user's own words for the page, a JSON file a language."""
        return self.data / "localizations"

    @property
    def presets(self) -> Path:
        """Forms stored under names."""
        return self.data / "presets.json"

    @property
    def ui_config(self) -> Path:
        """What the page's controls hold at first, as A1111 keeps it."""
        return self.data / "ui-config.json"

    @property
    def preprocessors(self) -> Path:
        """Weights of ControlNet's preprocessors, a folder each."""
        return self.data / "models" / "ControlNetPreprocessor"

    @property
    def state(self) -> Path:
        """Databases and locks of the program itself."""
        return self.data / "state"

    @property
    def inputs(self) -> Path:
        """Pictures that a page may name by their folder, to work on them one after another."""
        return self.data / "inputs"

    @property
    def unsaved(self) -> Path:
        """Pictures that were not to be saved, kept only while somebody may still ask for them."""
        return self.data / "state" / "unsaved"


def standard_paths(
    data: Path,
    *,
    checkpoint_dirs: tuple[Path, ...] = (),
    vae_dirs: tuple[Path, ...] = (),
    lora_dirs: tuple[Path, ...] = (),
    embedding_dirs: tuple[Path, ...] = (),
    hypernetwork_dirs: tuple[Path, ...] = (),
) -> Paths:
    """A1111's folder names under the data folder, and extra folders after the standard ones."""
    models = data / "models"
    shipped = PROGRAM / "models"
    demo = shipped / "Stable-diffusion" / "demo.safetensors"
    return Paths(
        data=data,
        demo=demo,
        outputs=data / "outputs",
        checkpoints=tuple(dict.fromkeys((models / "Stable-diffusion", *checkpoint_dirs, demo.parent))),
        vaes=tuple(dict.fromkeys((models / "VAE", *vae_dirs, shipped / "VAE"))),
        loras=tuple(dict.fromkeys((models / "Lora", *lora_dirs, shipped / "Lora"))),
        embeddings=tuple(dict.fromkeys((data / "embeddings", models / "embeddings", *embedding_dirs, PROGRAM / "embeddings"))),
        preview_decoders=(models / "VAE-approx", models / "VAE-taesd"),
        extensions=data / "extensions",
        hypernetworks=(models / "hypernetworks", *hypernetwork_dirs),
        depth_models=tuple(dict.fromkeys((models / "Depth", shipped / "Depth"))),
        controls=tuple(
            dict.fromkeys((models / "ControlNet", data / "extensions" / "sd-webui-controlnet" / "models", shipped / "ControlNet"))
        ),
        shipped=shipped,
    )

"""Control models: told apart by their tensors, found by any of their names, and refused with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.catalog.model_files import SDXL, write_model
from webui.catalog.catalog import Catalog
from webui.catalog.control_families import control_family, control_refusal
from webui.catalog.controls import check_fit
from webui.core.errors import InvalidRequest, NotFound, UnknownName
from webui.core.paths import Paths

HINT, DEEPEST = "input_hint_block.0.weight", "middle_block.1.transformer_blocks.0.attn2.to_k.weight"
ORIGINAL = {HINT: (2, 3, 1, 1), DEEPEST: (2, 768)}
WHOLE = {f"control_model.{name}": shape for name, shape in ORIGINAL.items()}
DIFFUSERS = {
    "controlnet_cond_embedding.conv_in.weight": (2, 3, 1, 1),
    "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight": (2, 2048),
}
# Long enough for A1111's old hash, which is of what lies behind the first megabyte.
LONG = {"padding": (600_000,)}


@pytest.mark.parametrize(
    ("shapes", "family"),
    [
        (ORIGINAL, "control-sd1"),
        (WHOLE, "control-sd1"),
        ({**WHOLE, DEEPEST.replace("middle", "control_model.middle"): (2, 1024)}, "control-sd2"),
        (DIFFUSERS, "control-sdxl"),
        ({**ORIGINAL, DEEPEST: (2, 32)}, "control"),
        ({**WHOLE, "model.diffusion_model.input_blocks.0.0.weight": (2, 4, 1, 1)}, "control-sd1"),
        ({**ORIGINAL, "lora_controlnet": (1,)}, "control-lora"),
        ({**ORIGINAL, "input_blocks.1.0.in_layers.2.up": (2, 2)}, "control-lora"),
        ({**DIFFUSERS, "task_embedding": (6, 320)}, "control-union"),
        ({**ORIGINAL, "difference": (1,)}, "control-difference"),
        ({"body.0.block1.weight": (2, 2, 1, 1)}, "t2i-adapter"),
        ({"adapter.body.0.resnets.0.block1.weight": (2, 2, 1, 1)}, "t2i-adapter"),
        ({"style_embedding": (1, 8, 1024)}, "t2i-adapter"),
        ({"image_proj.proj.weight": (2, 2)}, "ip-adapter"),
        ({"lllite_unet_input_blocks_1.down.0.weight": (2, 2)}, "control-lllite"),
        ({"x": (1,)}, None),
        (SDXL, None),
    ],
)
def test_what_a_file_is_follows_from_its_tensors(shapes: dict[str, tuple[int, ...]], family: str | None) -> None:
    assert control_family(shapes) == family
    assert (control_refusal(family or "unknown") is None) == (family in ("control", "control-sd1", "control-sd2", "control-sdxl"))


@pytest.fixture
def catalog(paths: Paths) -> Catalog:
    """Both folders, both layouts, and what cannot be used."""
    first, second = paths.controls
    write_model(first / "control_v11p_sd15_canny.safetensors", {**WHOLE, **LONG})
    write_model(first / "xl" / "depth-xl" / "diffusion_pytorch_model.safetensors", DIFFUSERS)
    write_model(first / "xl" / "depth-xl" / "diffusion_pytorch_model.fp16.safetensors", DIFFUSERS)
    write_model(second / "scribble.safetensors", ORIGINAL)
    write_model(second / "t2i.safetensors", {"body.0.block1.weight": (2, 2, 1, 1)})
    write_model(second / "rank128.safetensors", {**ORIGINAL, "lora_controlnet": (1,)})
    (first / "old.pth").write_bytes(b"PK\x03\x04 pickled")
    catalog = Catalog(paths, hashing=False)
    catalog.refresh()
    return catalog


def test_both_layouts_are_found_in_both_folders(catalog: Catalog) -> None:
    named = {file.called: file.base for file in catalog.controls().files}
    assert named == {"control_v11p_sd15_canny": "sd1", "depth-xl": "sdxl", "depth-xl.fp16": "sdxl", "scribble": "sd1"}


def test_titles_have_the_digits_that_the_extension_writes(catalog: Catalog) -> None:
    titles = [file.title for file in catalog.controls().files]
    assert titles[0].startswith("control_v11p_sd15_canny [")
    assert len(titles[0]) == len("control_v11p_sd15_canny [12345678]")
    assert "scribble" in titles  # too short to have any


@pytest.mark.parametrize(
    "name",
    [
        "control_v11p_sd15_canny", "Control_V11p_SD15_canny", "control_v11p_sd15_canny.safetensors",
        "control_v11p_sd15_canny [d14c016b]", " control_v11p_sd15_canny ",
    ],
)  # fmt: skip
def test_a_model_is_found_by_any_of_its_names(catalog: Catalog, name: str) -> None:
    assert catalog.controls().find(name).called == "control_v11p_sd15_canny"


def test_a_folder_is_the_models_name(catalog: Catalog) -> None:
    assert catalog.controls().find("depth-xl").path.name == "diffusion_pytorch_model.safetensors"


@pytest.mark.parametrize(("name", "says"), [("t2i", "is a T2I adapter"), ("rank128", "is a Control-LoRA"), ("old.pth", "is cut short")])
def test_what_cannot_be_used_is_refused_with_the_reason(catalog: Catalog, name: str, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        catalog.controls().find(name)
    assert any(says in broken.reason for broken in catalog.broken())


def test_an_unknown_name_is_told_the_nearest(catalog: Catalog) -> None:
    with pytest.raises(UnknownName, match="scribble"):
        catalog.controls().find("scribbel")


def test_without_any_model_it_is_said_where_one_goes(paths: Paths) -> None:
    catalog = Catalog(paths, hashing=False)
    catalog.refresh()
    with pytest.raises(NotFound, match="models/ControlNet"):
        catalog.controls().find("canny")


@pytest.mark.parametrize(
    ("name", "family", "fits"),
    [("scribble", "sd1", True), ("scribble", "sd1-inpaint", True), ("scribble", "ip2p", True), ("scribble", "sdxl", False),
     ("depth-xl", "sdxl", True), ("depth-xl", "sd1", False), ("depth-xl", "sd2-depth", False), ("depth-xl", "unknown", True)],
)  # fmt: skip
def test_a_model_steers_checkpoints_of_its_own_family(catalog: Catalog, name: str, family: str, fits: bool) -> None:
    control = catalog.controls().find(name)
    if fits:
        check_fit(control, "some.safetensors", family)
    else:
        with pytest.raises(InvalidRequest, match=f"'{name}' is for .* but the checkpoint 'some.safetensors' is of"):
            check_fit(control, "some.safetensors", family)


def test_a_control_model_among_the_checkpoints_is_told_where_it_belongs(paths: Paths, tmp_path: Path) -> None:
    write_model(paths.checkpoints[0] / "canny.safetensors", WHOLE)
    write_model(paths.loras[0] / "lora.safetensors", {"body.0.block1.weight": (2, 2, 1, 1)})
    catalog = Catalog(paths, hashing=False)
    catalog.refresh()
    reasons = {broken.name: broken.reason for broken in catalog.broken()}
    assert reasons["canny.safetensors"] == "is a ControlNet; put it into models/ControlNet"
    assert reasons["lora.safetensors"] == "is a T2I adapter, which this version cannot use"

import base64
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.catalog.model_files import EMBEDDING, LORA, SD1, SDXL, VAE, write_model, write_torch_zip
from webui.catalog.adapters import Lora, identify_adapter, list_adapters, name_loras
from webui.catalog.identify import Identity
from webui.core.errors import ModelError


def listed(paths):
    return list_adapters(paths, lambda file: identify_adapter(file.path))


# --- LoRAs


def lora(stem, alias=None):
    identity = Identity("lora", {"ss_output_name": alias} if alias else {}, 2)
    return Lora(f"{stem}.safetensors", Path(f"/{stem}.safetensors"), 1, 1, alias or stem, identity)


def meant(files):
    """Which file every name means."""
    return {name: file.stem for name, file in name_loras(files).items()}


@pytest.mark.parametrize(("files", "names"), [
    ([lora("a"), lora("b", "bee")], {"a": "a", "b": "b", "bee": "b"}),
    ([lora("a", "same"), lora("b", "same")], {"a": "a", "b": "b"}),
    ([lora("a", "b"), lora("b")], {"a": "a", "b": "b"}),
    ([lora("b"), lora("c", "b")], {"b": "b", "c": "c"}),
    ([lora("b"), lora("c", "b"), lora("d", "b")], {"b": "b", "c": "c", "d": "d"}),
    ([lora("a", "none"), lora("b", "Addams")], {"a": "a", "b": "b"}),
    ([lora("none")], {"none": "none"}),
    ([lora("a", "Bee"), lora("b", "bee")], {"a": "a", "b": "b", "Bee": "a", "bee": "b"}),
])  # fmt: skip
def test_a_name_is_a_files_or_an_alias_that_is_one_files_alone(files, names):
    assert meant(files) == names


def test_of_two_files_with_one_name_the_later_is_meant(paths):
    for folder in ("x", "y"):
        write_model(paths.loras[0] / folder / "a.safetensors", LORA)
    found = listed(paths)
    assert [file.name for file in found.loras] == ["x/a.safetensors", "y/a.safetensors"]
    assert found.find_lora("a").name == "y/a.safetensors"
    for name in ("x/a", "x\\a", "x/a.safetensors"):
        assert found.find_lora(name).name == "x/a.safetensors"


def test_case_counts(paths):
    write_model(paths.loras[0] / "Style.safetensors", LORA, {"ss_output_name": "Nice"})
    found = listed(paths)
    assert found.find_lora("Style") == found.find_lora("Nice") == found.loras[0]
    assert found.find_lora("style") is None
    assert found.find_lora("nice") is None


def test_loras_of_every_suffix_are_listed_in_natural_order(paths):
    write_model(paths.loras[0] / "v10.safetensors", LORA)
    write_torch_zip(paths.loras[0] / "v9.pt", {"lora_unet_x.lora_up.weight": 1})
    write_torch_zip(paths.loras[0] / "v11.ckpt", {"lora_unet_x.lora_up.weight": 1})
    write_model(paths.loras[0] / "v12.bin", LORA)
    assert [file.name for file in listed(paths).loras] == ["v9.pt", "v10.safetensors", "v11.ckpt"]


@pytest.mark.parametrize(("metadata", "made_for"), [
    ({}, ""),
    ({"title": "x"}, ""),
    ({"ss_base_model_version": "sdxl_base_v1-0"}, "sdxl"),
    ({"ss_base_model_version": "sd_v1", "ss_v2": "False"}, "sd1"),
    ({"ss_v2": "True"}, "sd2"),
])  # fmt: skip
def test_what_it_was_made_for_is_told_from_the_metadata(paths, metadata, made_for):
    write_model(paths.loras[0] / "a.safetensors", LORA, metadata)
    assert listed(paths).loras[0].made_for == made_for


# --- embeddings


def save_picture(path, text=None):
    info = PngInfo()
    if text is not None:
        info.add_text("sd-ti-embedding", base64.b64encode(text.encode()).decode())
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(1).integers(1, 255, (8, 8, 3), np.uint8)
    Image.fromarray(pixels).save(path, **({"pnginfo": info} if text is not None else {}))


def test_embeddings_of_every_kind_are_listed_with_their_words(paths):
    folder = paths.embeddings[0]
    write_model(folder / "a.safetensors", EMBEDDING)
    write_model(folder / "b.safetensors", {"clip_l": (2, 4), "clip_g": (2, 4)})
    write_model(folder / "c.safetensors", {"<cat-toy>": (4,)})
    write_torch_zip(folder / "d.pt", {"string_to_param": 1}, storages=2)
    write_torch_zip(folder / "e.bin", {"<cat-toy>": 1}, storages=1)
    save_picture(folder / "sub" / "f.png", json.dumps({"name": "effy"}))
    save_picture(folder / "g.png", json.dumps({}))
    found = listed(paths)
    assert [(file.name, file.word) for file in found.embeddings] == [
        ("a.safetensors", "a"), ("b.safetensors", "b"), ("c.safetensors", "c"), ("d.pt", "d"), ("e.bin", "e"), ("g.png", "g"),
        ("sub/f.png", "effy"),
    ]  # fmt: skip
    assert found.broken == ()
    assert found.find_embedding("effy").name == "sub/f.png"
    assert found.find_embedding("sub/f") == found.find_embedding("effy")
    assert found.find_embedding("nothing") is None


def test_of_two_embeddings_or_hypernetworks_with_one_name_the_later_is_meant(paths):
    for folder in ("x", "y"):
        write_model(paths.embeddings[0] / folder / "a.safetensors", EMBEDDING)
        write_torch_zip(paths.hypernetworks[0] / folder / "a.pt", {768: {"linear.0.weight": 1}})
    found = listed(paths)
    assert found.find_embedding("a").name == "y/a.safetensors"
    assert found.find_hypernetwork("a").name == "y/a.pt"


def test_pictures_that_only_show_something_are_neither_embeddings_nor_faults(paths):
    folder = paths.embeddings[0]
    write_model(folder / "a.safetensors", EMBEDDING)
    for name in ("a.png", "a.preview.png", "cat.webp", "dog.png"):
        save_picture(folder / name)
    (folder / "broken.png").write_bytes(b"no picture")
    found = listed(paths)
    assert [file.name for file in found.embeddings] == ["a.safetensors"]
    assert found.broken == ()


def test_a_preview_is_not_searched_for_hidden_pixels(paths, monkeypatch):
    folder = paths.embeddings[0]
    write_torch_zip(folder / "a.pt", {"string_to_param": 1})
    for name in ("a.png", "b.preview.png"):
        save_picture(folder / name)
    monkeypatch.setattr("webui.catalog.adapters.read_image_embedding", None)
    assert [file.name for file in listed(paths).embeddings] == ["a.pt"]


# --- hypernetworks


def test_hypernetworks_are_found_by_their_files_names(paths):
    folder = paths.hypernetworks[0]
    for name in ("b.pt", "sub/a.pt", "None.pt"):
        write_torch_zip(folder / name, {768: {"linear.0.weight": 1}})
    found = listed(paths)
    assert [file.name for file in found.hypernetworks] == ["b.pt", "sub/a.pt"]
    assert found.find_hypernetwork("a") == found.find_hypernetwork("sub/a.pt") == found.hypernetworks[1]
    assert found.find_hypernetwork("None") is None


# --- what is none of these


def test_every_file_in_a_wrong_folder_is_broken_with_its_reason(paths):
    write_model(paths.loras[0] / "checkpoint.safetensors", SD1)
    write_model(paths.loras[0] / "xl.safetensors", SDXL)
    write_model(paths.loras[0] / "vae.safetensors", VAE)
    write_model(paths.loras[0] / "word.safetensors", EMBEDDING)
    write_model(paths.loras[0] / "thing.safetensors", {"x": (1, 2), "y": (1,)})
    write_torch_zip(paths.loras[0] / "hyper.pt", {768: {"linear.0.weight": 1}})
    write_torch_zip(paths.loras[0] / "things.pt", {"x": 1}, storages=3)
    write_model(paths.embeddings[0] / "lora.safetensors", LORA)
    write_model(paths.embeddings[0] / "two.safetensors", {"x": (1, 2), "y": (1, 2)})
    write_torch_zip(paths.embeddings[0] / "things.pt", {"x": 1}, storages=3)
    write_torch_zip(paths.hypernetworks[0] / "ti.pt", {"string_to_param": 1})
    found = listed(paths)
    assert (found.loras, found.embeddings, found.hypernetworks) == ((), (), ())
    assert [(file.name, file.reason) for file in found.broken] == [
        ("checkpoint.safetensors", "is an SD 1.x checkpoint; put it into models/Stable-diffusion"),
        ("hyper.pt", "is a hypernetwork; put it into models/hypernetworks"),
        ("lora.safetensors", "is a LoRA; put it into models/Lora"),
        ("thing.safetensors", "is no LoRA that is known here"),
        ("things.pt", "is no LoRA that is known here"),
        ("things.pt", "is no textual inversion that is known here"),
        ("ti.pt", "is a textual inversion; put it into embeddings"),
        ("two.safetensors", "is no textual inversion that is known here"),
        ("vae.safetensors", "is a VAE; put it into models/VAE"),
        ("word.safetensors", "is a textual inversion; put it into embeddings"),
        ("xl.safetensors", "is an SDXL checkpoint; put it into models/Stable-diffusion"),
    ]


def test_damaged_and_hostile_files_are_broken_with_their_reason(paths):
    folder = paths.loras[0]
    write_model(folder / "cut.safetensors", LORA)
    os.truncate(folder / "cut.safetensors", 40)
    (folder / "empty.pt").touch()
    (folder / "link.pt").symlink_to("nowhere")
    (folder / "old.pt").write_bytes(b"\x80\x02}q\x00.")
    write_torch_zip(folder / "evil.ckpt", pickled=b"\x80\x02cposix\nsystem\n.")
    write_model(folder / "renamed.pt", LORA)
    reasons = {file.name: file.reason for file in listed(paths).broken}
    assert reasons.keys() == {"cut.safetensors", "empty.pt", "link.pt", "old.pt", "evil.ckpt", "renamed.pt"}
    assert reasons["old.pt"] == "is no file that PyTorch 1.6 or later has written; convert it to .safetensors"
    assert reasons["evil.ckpt"].startswith("asks for 'posix.system'")
    assert reasons["renamed.pt"] == "holds safetensors data under the suffix .pt; rename it to .safetensors"


def test_missing_folders_are_no_fault(paths):
    found = listed(replace(paths, hypernetworks=()))
    assert found == replace(found, loras=(), embeddings=(), hypernetworks=(), broken=())


@pytest.mark.parametrize("name", ["gone.pt", "gone.png", "gone.safetensors"])
def test_a_file_that_is_gone_is_a_model_error(tmp_path, name):
    with pytest.raises(ModelError, match=r"cannot be read|is not a regular file"):
        identify_adapter(tmp_path / name)

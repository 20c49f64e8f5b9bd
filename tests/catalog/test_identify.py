import json
import os
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from tests.catalog.model_files import SD1, SDXL, UNET_INPUT, VAE, header_of, write_model, write_raw
from webui.catalog import identify as identify_module
from webui.catalog.identify import identify
from webui.core.errors import ModelError


def without(shapes, *prefixes):
    return {name: shape for name, shape in shapes.items() if not name.startswith(prefixes)}


def with_input(shapes, channels):
    return {**shapes, UNET_INPUT: (2, channels, 1, 1)}


SD2 = {**without(SD1, "cond_stage_model."), "cond_stage_model.model.transformer.resblocks.0.attn.in_proj_weight": (6, 2)}

LABELS = "model.diffusion_model.label_emb.0.0.weight"
FAMILIES = [
    ("sd1", SD1),
    ("sd1", {**without(SD1, "cond_stage_model."), "cond_stage_model.transformer.embeddings.token_embedding.weight": (2, 2)}),
    ("sd1-inpaint", with_input(SD1, 9)),
    ("ip2p", with_input(SD1, 8)),
    ("sd1-part", without(SD1, "cond_stage_model.")),
    ("sd1-part", without(SD1, "first_stage_model.")),
    ("sd2", SD2),
    ("sd2-inpaint", with_input(SD2, 9)),
    ("sd2-depth", with_input(SD2, 5)),
    ("sd2-depth", {**SD2, "depth_model.model.pretrained.act_postprocess3.0.project.0.bias": (2,)}),
    ("sdxl", SDXL),
    ("sdxl-inpaint", with_input(SDXL, 9)),
    ("sdxl-ip2p", with_input(SDXL, 8)),
    ("unknown", with_input(SDXL, 5)),
    ("sdxl", {**SDXL, "model.diffusion_model.middle_block.1.transformer_blocks.0.norm1.weight": (2,)}),
    ("sdxl-pruned", {**SDXL, "model.diffusion_model.middle_block.0.in_layers.0.weight": (2,)}),
    ("sdxl-part", {**without(SD1, "cond_stage_model."), LABELS: (2, 2)}),
    ("sdxl-refiner", {**without(SD1, "cond_stage_model."), LABELS: (2, 2), "conditioner.embedders.0.model.ln_final.weight": (2,)}),
    ("sd2", {**without(SD1, "cond_stage_model."), "conditioner.embedders.0.model.ln_final.weight": (2,)}),
    ("flux", {"model.diffusion_model.double_blocks.0.img_attn.qkv.weight": (2, 2)}),
    ("flux", {"double_blocks.0.img_attn.qkv.weight": (2, 2)}),
    ("unclip", {**SD2, "embedder.model.ln_final.weight": (2,)}),
    ("alt", {**without(SD1, "cond_stage_model."), "cond_stage_model.roberta.embeddings.word_embeddings.weight": (2, 2)}),
    ("svd", {**SD1, "model.diffusion_model.input_blocks.1.0.time_stack.in_layers.0.weight": (2,)}),
    ("sd3", {"model.diffusion_model.x_embedder.proj.weight": (2, 2)}),
    ("vae", VAE),
    ("vae", {f"first_stage_model.{name}": shape for name, shape in VAE.items()}),
    ("vae-other", {**VAE, "decoder.conv_in.weight": (2, 16, 1, 1)}),
    ("vae-diffusers", {**VAE, "decoder.up_blocks.0.resnets.0.norm1.weight": (2,)}),
    ("lora", {"lora_unet_down_blocks_0.lora_up.weight": (2, 2), "lora_unet_down_blocks_0.lora_down.weight": (2, 2)}),
    ("lora", {"unet.conv_in.lora_A.weight": (2, 2)}),
    ("lora", {"lora_unet_conv_in.diff": (2, 2)}),
    ("lora", {"some_norm.w_norm": (2,), "some_norm.b_norm": (2,)}),
    ("embedding", {"emb_params": (2, 4)}),
    ("embedding", {"clip_l": (2, 4), "clip_g": (2, 8)}),
    ("unknown", {"clip_l": (2, 4)}),
    ("unknown", {"something.else": (2, 2)}),
    ("unknown", with_input(SD1, 7)),
    ("unknown", {}),
]


@pytest.mark.parametrize(("family", "shapes"), FAMILIES)
def test_family_follows_from_names_and_shapes(tmp_path, family, shapes):
    assert identify(write_model(tmp_path / "m.safetensors", shapes)).family == family


def test_metadata_and_number_of_tensors_are_told(tmp_path):
    identity = identify(write_model(tmp_path / "m.safetensors", SD1, {"default_width": "128"}))
    assert identity.metadata == {"default_width": "128"}
    assert identity.tensors == len(SD1)


def test_very_long_metadata_values_are_left_out(tmp_path):
    identity = identify(write_model(tmp_path / "m.safetensors", SD1, {"cover": "x" * 100_000, "title": "t"}))
    assert identity.metadata == {"title": "t"}


def test_what_the_safetensors_library_writes_is_accepted(tmp_path):
    path = tmp_path / "m.safetensors"
    arrays = {"scalar": np.array(1.5), "empty": np.zeros((0, 3)), "bytes": np.zeros(3, np.uint8), "half": np.zeros((2, 3), np.float16)}
    save_file(arrays, path, metadata={"a": "b"})
    assert identify(path).tensors == 4


def entry(shape=(2,), offsets=(0, 4), dtype="F16"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


BAD_HEADERS = {
    "overlapping tensors": ({"a": entry(), "b": entry(offsets=(2, 6))}, 6, "overlaps"),
    "a gap between tensors": ({"a": entry(), "b": entry(offsets=(6, 10))}, 10, "gap"),
    "a tensor beyond the end": ({"a": entry()}, 3, "cut short"),
    "an offset far beyond the end": ({"a": entry((2**40,), (0, 2**41))}, 4, "cut short"),
    "data that nobody describes": ({"a": entry()}, 5, "describes 4 bytes"),
    "more bytes than the shape needs": ({"a": entry((1,))}, 4, "does not fit"),
    "a shape bomb": ({"a": entry((2**62, 2**62))}, 4, "does not fit"),
    "a negative side": ({"a": entry((-2, -1))}, 4, "shape"),
    "a side that is true": ({"a": entry((True, 2))}, 4, "shape"),
    "a side that is no integer": ({"a": entry((2.0,))}, 4, "shape"),
    "very many sides": ({"a": entry((1,) * 9 + (2,))}, 4, "shape"),
    "negative offsets": ({"a": entry(offsets=(-4, 0))}, 4, "offsets"),
    "swapped offsets": ({"a": entry(offsets=(4, 0))}, 4, "offsets"),
    "three offsets": ({"a": entry(offsets=(0, 2, 4))}, 4, "offsets"),
    "an unknown dtype": ({"a": entry(dtype="Q4_K")}, 4, "dtype"),
    "a dtype that is a list": ({"a": entry(dtype=["F16"])}, 4, "dtype"),
    "an entry without shape": ({"a": {"dtype": "F16", "data_offsets": [0, 4]}}, 4, "described"),
    "an entry that is a number": ({"a": 3}, 0, "described"),
    "metadata that is a list": ({"__metadata__": ["x"]}, 0, "metadata"),
    "a metadata value that is no text": ({"__metadata__": {"x": 1}}, 0, "metadata"),
}


@pytest.mark.parametrize("case", BAD_HEADERS)
def test_a_bad_header_is_refused_with_its_fault(tmp_path, case):
    header, size, fault = BAD_HEADERS[case]
    path = write_raw(tmp_path / "m.safetensors", json.dumps(header).encode(), b"\0" * size)
    with pytest.raises(ModelError, match=fault):
        identify(path)


@pytest.mark.parametrize(
    "text",
    [
        b"{" * 100_000,
        b'{"a":' + b"[" * 100_000,
        b'{"a": 1' + b"0" * 10_000 + b"}",
        b'{"a": NaN}',
        b'{"a": 1, "a": 1}',
        b'{"\xff": 1}',
        b"{} {}",
        b"{",
    ],
)
def test_hostile_json_is_refused(tmp_path, text):
    with pytest.raises(ModelError, match="damaged header"):
        identify(write_raw(tmp_path / "m.safetensors", text))


def test_a_header_of_more_tensors_than_any_model_is_refused_before_it_is_parsed(tmp_path, monkeypatch):
    monkeypatch.setattr(identify_module.json, "loads", None)
    text = b"{" + b",".join(b'"%d":{}' % number for number in range(400_001)) + b"}"
    with pytest.raises(ModelError, match="more tensors"):
        identify(write_raw(tmp_path / "m.safetensors", text))


def test_a_header_over_the_cap_is_refused_without_reading_it(tmp_path):
    path = write_raw(tmp_path / "m.safetensors", b"{}", length=identify_module.MAX_HEADER + 1)
    os.truncate(path, 200 * 1024 * 1024)
    with pytest.raises(ModelError, match="at most 33554432"):
        identify(path)


@pytest.mark.parametrize("length", [100, 2**32, 2**25])
def test_a_header_longer_than_the_file_is_refused_as_cut_short(tmp_path, length):
    with pytest.raises(ModelError, match="cut short"):
        identify(write_raw(tmp_path / "m.safetensors", b"{}", length=min(length, identify_module.MAX_HEADER)))


@pytest.mark.parametrize("keep", [9, 40, 300, -1])
def test_a_truncated_model_is_refused(tmp_path, keep):
    path = write_model(tmp_path / "m.safetensors")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ModelError, match="cut short"):
        identify(path)


def write_pickle(path):
    path.write_bytes(pickle.dumps({"state_dict": 1}))


def write_zip(path, pickled):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)


SUFFIXES = ["m.ckpt", "m.CKPT", "m.Pt", "m.pth", "m.bin", "m.safetensors", "m.SafeTensors"]


@pytest.mark.parametrize("name", SUFFIXES)
def test_an_old_pickle_or_one_that_would_run_something_is_refused_whatever_its_suffix(tmp_path, name):
    write_pickle(tmp_path / name)
    with pytest.raises(ModelError, match=r"is a pickle file older than PyTorch 1\.6; convert it to \.safetensors"):
        identify(tmp_path / name)
    write_zip(tmp_path / name, b"\x80\x02cposix\nsystem\n.")
    with pytest.raises(ModelError, match=r"asks for 'posix\.system'"):
        identify(tmp_path / name)
    write_zip(tmp_path / name, pickle.dumps({"state_dict": 1}))
    with pytest.raises(ModelError, match="holds no weights"):
        identify(tmp_path / name)


def test_a_pickle_suffix_is_enough_to_be_refused(tmp_path):
    (tmp_path / "m.CkPt").write_bytes(b"anything at all")
    with pytest.raises(ModelError, match="is a pickle file"):
        identify(tmp_path / "m.CkPt")


def test_safetensors_under_a_pickle_suffix_are_told_to_be_renamed(tmp_path):
    with pytest.raises(ModelError, match=r"rename it to \.safetensors"):
        identify(write_model(tmp_path / "m.ckpt"))


def test_a_header_length_that_looks_like_a_pickle_is_no_pickle(tmp_path):
    text = json.dumps(header_of(SD1)).encode()
    path = write_raw(tmp_path / "m.safetensors", text.ljust(0x0280), b"\0" * 40)
    content = path.read_bytes()
    assert content[:2] == b"\x80\x02"
    size = max(each["data_offsets"][1] for each in header_of(SD1).values())
    path.write_bytes(content[: 8 + 0x0280] + b"\0" * size)
    assert identify(path).family == "sd1"


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"GGUF\x03\0\0\0 and more", "GGUF"),
        (b"", "empty"),
        (b"\0" * 64, "is not a safetensors file"),
    ],
)
def test_what_is_no_model_is_called_what_it_is(tmp_path, start, reason):
    (tmp_path / "m.safetensors").write_bytes(start)
    with pytest.raises(ModelError, match=reason):
        identify(tmp_path / "m.safetensors")


def test_a_missing_file_is_a_model_error(tmp_path):
    with pytest.raises(ModelError, match="cannot be read"):
        identify(tmp_path / "gone.safetensors")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_is_refused_without_waiting_for_a_writer(tmp_path):
    os.mkfifo(tmp_path / "m.safetensors")
    with pytest.raises(ModelError, match="not a regular file"):
        identify(tmp_path / "m.safetensors")


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_identified_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError):
        identify(path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["dtype", "shape", "data_offsets"]), inner, max_size=3),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=5) | st.just("__metadata__"), json_values, max_size=4))
def test_any_json_header_is_identified_or_refused(tmp_path_factory, header):
    path = write_raw(tmp_path_factory.mktemp("any") / "m.safetensors", json.dumps(header).encode(), b"\0" * 8)
    try:
        identity = identify(path)
    except ModelError:
        return
    assert identity.family == "unknown"

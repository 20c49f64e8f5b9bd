"""Whole files: against peft, which trains and applies them too; and what does not belong into them."""

import copy
import json

import pytest
import torch
from peft import IA3Config, LoHaConfig, LoKrConfig, LoraConfig, get_peft_model_state_dict, inject_adapter_in_model
from safetensors.torch import save_file
from torch import nn

from tests.engine.adapters.torch_files import write_torch
from tests.engine.tiny_models import assert_same_weights
from webui.core.errors import ModelError
from webui.engine.adapters.applied import AppliedPatches
from webui.engine.adapters.lora import read_lora

LINEAR = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "proj_in"]
CONVOLUTIONS = ["conv1", "conv_shortcut", "downsamplers.0.conv"]
TEXT = ["q_proj", "out_proj", "fc1"]
RANK = 3


def write(path, tensors, **metadata):
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata or None)
    return read_lora(path)


def patched(model, file, *, unet=1.0, te=1.0, **options):
    """Copies of a model's UNet and text encoder with a file applied, and what of the file has no effect."""
    modules = copy.deepcopy(model.unet).requires_grad_(False), copy.deepcopy(model.text_encoder).requires_grad_(False)
    patches = file.patches(*modules, **options)
    AppliedPatches(modules[0]).apply([(patches.unet, unet)])
    AppliedPatches(modules[1]).apply([(patches.text_encoders[0], te)])
    return *modules, patches


def trained(module, config, seed=0):
    """A module with a peft adapter in it, all of whose weights are random; and the adapter's tensors."""
    module = copy.deepcopy(module).requires_grad_(False)
    module = inject_adapter_in_model(config, module)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        for name, parameter in module.named_parameters():
            if parameter.requires_grad and "magnitude" not in name:
                parameter.normal_(1.0 if "ia3" in name else 0.0, 0.3)
    return module.eval(), get_peft_model_state_dict(module)


def merged(module):
    """The weights that a peft adapter stands for, by name."""
    weights = {}
    for name, layer in module.named_modules():
        if hasattr(layer, "get_base_layer") and hasattr(layer, "merge"):
            layer.merge()
            weights[f"{name}.weight"] = layer.get_base_layer().weight.detach()
    return weights


def assert_as_peft(module, adapted):
    ours = dict(module.named_parameters())
    theirs = merged(adapted)
    assert len(theirs) > 5
    for name, weight in theirs.items():
        torch.testing.assert_close(ours[name], weight, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")


def kohya(tensors, prefix, alpha=None):
    """peft's names as kohya writes them."""
    renamed = {}
    for name, tensor in tensors.items():
        layer, _, part = name.partition(".lora_")
        layer = prefix + layer.replace(".", "_")
        renamed[f"{layer}.{'lora_down' if part.startswith('A') else 'lora_up'}.weight"] = tensor
        if alpha is not None:
            renamed[f"{layer}.alpha"] = torch.tensor(float(alpha))
    return renamed


# --- peft as oracle


@pytest.mark.parametrize("naming", ["kohya", "peft"])
def test_a_lora_of_linear_layers_and_convolutions_is_pefts(tmp_path, tiny, naming):
    config = LoraConfig(r=RANK, lora_alpha=RANK if naming == "peft" else 5, target_modules=[*LINEAR, *CONVOLUTIONS])
    adapted, tensors = trained(tiny.unet, config)
    text, text_tensors = trained(tiny.text_encoder, LoraConfig(r=RANK, lora_alpha=config.lora_alpha, target_modules=TEXT), 1)
    if naming == "kohya":
        names = kohya(tensors, "lora_unet_", 5) | kohya(text_tensors, "lora_te_text_model_", 5)
    else:
        names = {f"unet.{name}": tensor for name, tensor in tensors.items()}
        names |= {f"text_encoder.text_model.{name}": tensor for name, tensor in text_tensors.items()}
    unet, text_encoder, patches = patched(tiny, write(tmp_path / "a.safetensors", names))
    assert (patches.unmatched, patches.unfit, patches.remark) == ((), (), None)
    assert_as_peft(unet, adapted)
    assert_as_peft(text_encoder, text)


def test_pictures_and_vectors_are_those_that_peft_makes(tmp_path, tiny):
    adapted, tensors = trained(tiny.unet, LoraConfig(r=RANK, lora_alpha=2, target_modules=LINEAR))
    unet, _, _ = patched(tiny, write(tmp_path / "a.safetensors", kohya(tensors, "lora_unet_", 2)))
    latents, context = torch.randn(1, 4, 8, 8), torch.randn(1, 77, tiny.shape.width)
    with torch.inference_mode():
        ours, theirs, plain = (one(latents, torch.tensor([500.0]), context, return_dict=False)[0] for one in (unet, adapted, tiny.unet))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert (ours - plain).std() > 0.01


CONFIGS = {
    "loha": LoHaConfig(r=RANK, alpha=5, target_modules=[*LINEAR, *CONVOLUTIONS], init_weights=False),
    "loha in Tucker form": LoHaConfig(r=RANK, alpha=5, target_modules=CONVOLUTIONS, use_effective_conv2d=True, init_weights=False),
    "lokr": LoKrConfig(r=RANK, alpha=5, target_modules=[*LINEAR, *CONVOLUTIONS], init_weights=False),
    "lokr, both decomposed": LoKrConfig(r=1, alpha=2, target_modules=LINEAR, decompose_both=True, init_weights=False),
    "lokr in Tucker form": LoKrConfig(r=RANK, alpha=5, target_modules=CONVOLUTIONS, use_effective_conv2d=True, init_weights=False),
}  # fmt: skip


@pytest.mark.parametrize("name", CONFIGS)
def test_loha_and_lokr_are_pefts(tmp_path, tiny, name):
    config = CONFIGS[name]
    adapted, tensors = trained(tiny.unet, config)
    names = {f"unet.{tensor_name}": tensor for tensor_name, tensor in tensors.items()}
    names |= {f"{tensor_name.rpartition('.')[0]}.alpha": torch.tensor(float(config.alpha)) for tensor_name in names}
    unet, _, patches = patched(tiny, write(tmp_path / "a.safetensors", names))
    assert (patches.unmatched, patches.unfit) == ((), ())
    assert_as_peft(unet, adapted)


def test_pefts_dora_is_told_by_its_magnitudes(tmp_path, tiny):
    adapted, tensors = trained(tiny.unet, LoraConfig(r=RANK, lora_alpha=RANK, target_modules=[*LINEAR, *CONVOLUTIONS], use_dora=True))
    assert any("magnitude" in name for name in tensors)
    unet, _, patches = patched(tiny, write(tmp_path / "a.safetensors", {f"unet.{name}": tensor for name, tensor in tensors.items()}))
    assert (patches.unmatched, patches.unfit) == ((), ())
    assert_as_peft(unet, adapted)


def test_ia3_is_pefts(tmp_path, tiny):
    """A1111's files have what is added to the factor 1; peft's have the factor."""
    adapted, tensors = trained(tiny.unet, IA3Config(target_modules=["to_k", "to_v"], feedforward_modules=[]))
    names = {}
    for name, factors in tensors.items():
        layer = f"lora_unet_{name.removesuffix('.ia3_l').replace('.', '_')}"
        names |= {f"{layer}.weight": factors.flatten() - 1, f"{layer}.on_input": torch.tensor(False)}
    unet, _, patches = patched(tiny, write(tmp_path / "a.safetensors", names))
    assert (patches.unmatched, patches.unfit) == ((), ())
    assert_as_peft(unet, adapted)


# --- strengths, ranks, alphas


@pytest.fixture
def lora(tmp_path, tiny):
    """A file that changes both modules."""
    tensors = kohya(trained(tiny.unet, LoraConfig(r=RANK, target_modules=LINEAR))[1], "lora_unet_", 2)
    text = kohya(trained(tiny.text_encoder, LoraConfig(r=RANK, target_modules=TEXT))[1], "lora_te_text_model_", 2)
    return write(tmp_path / "both.safetensors", tensors | text)


def test_each_module_has_a_strength_of_its_own(tiny, lora):
    unet, text_encoder, _ = patched(tiny, lora, unet=0.0)
    assert_same_weights(unet, tiny.unet)
    with pytest.raises(AssertionError):
        assert_same_weights(text_encoder, tiny.text_encoder)
    unet, text_encoder, _ = patched(tiny, lora, te=0.0)
    assert_same_weights(text_encoder, tiny.text_encoder)
    with pytest.raises(AssertionError):
        assert_same_weights(unet, tiny.unet)


def test_every_weight_of_both_modules_is_back_bit_for_bit_after_removal(tiny, lora):
    unet, text_encoder = copy.deepcopy(tiny.unet).requires_grad_(False), copy.deepcopy(tiny.text_encoder).requires_grad_(False)
    patches = lora.patches(unet, text_encoder)
    applied = AppliedPatches(unet), AppliedPatches(text_encoder)
    applied[0].apply([(patches.unet, 0.7)] * 1)
    applied[1].apply([(patches.text_encoders[0], 0.7)])
    for one in applied:
        one.restore()
    assert_same_weights(unet, tiny.unet)
    assert_same_weights(text_encoder, tiny.text_encoder)


def test_a_lora_cut_to_fewer_ranks_is_another_version(tiny, lora):
    whole, cut = (lora.patches(tiny.unet, tiny.text_encoder, dyn=dyn) for dyn in (None, 1))
    assert whole.unet != cut.unet
    assert whole.unet == lora.patches(tiny.unet, tiny.text_encoder).unet
    layer = next(iter(cut.unet.layers.values()))
    assert layer.kind.rank == 1
    assert layer.scale == 2 / RANK


def test_a_replaced_file_is_another_version(tmp_path, tiny, lora):
    tensor = {"lora_unet_conv_in.diff": torch.zeros(32, 4, 3, 3)}
    again = write(tmp_path / "both.safetensors", tensor)
    assert again.patches(tiny.unet, tiny.text_encoder).unet != lora.patches(tiny.unet, tiny.text_encoder).unet


@pytest.mark.parametrize(("said", "scale"), [
    (json.dumps({"unet.lora_alpha": 6, "unet.r": 3}), 2.0),
    (json.dumps({"text_encoder.lora_alpha": 6}), 1.0),
    ("no json", 1.0),
    ("[1]", 1.0),
    ('{"unet.lora_alpha": null}', 1.0),
])  # fmt: skip
def test_diffusers_writes_alpha_into_the_metadata(tmp_path, tiny, said, scale):
    tensors = {f"unet.conv_in.lora_{which}.weight": torch.ones(shape) for which, shape in (("A", (3, 4, 3, 3)), ("B", (32, 3, 1, 1)))}
    file = write(tmp_path / "a.safetensors", tensors, lora_adapter_metadata=said)
    assert file.patches(tiny.unet, tiny.text_encoder).unet.layers["conv_in"].scale == scale


# --- files that are not as expected


def ones(*shape):
    return torch.ones(shape)


def test_what_no_layer_has_and_what_fits_none_is_reported_and_the_rest_applied(tmp_path, tiny):
    file = write(tmp_path / "a.safetensors", {
        "lora_unet_conv_in.diff": ones(32, 4, 3, 3),
        "lora_unet_conv_out.diff": ones(3, 3),
        "lora_unet_mid_block_resnets_0_norm1.w_norm": ones(64),
        "lora_unet_down_blocks_7_conv.alpha": ones(1),
        "lora_unet_down_blocks_7_conv.lora_up.weight": ones(1, 1),
        "lora_te2_text_model_encoder_layers_0_mlp_fc1.diff": ones(2, 2),
    })  # fmt: skip
    patches = file.patches(tiny.unet, tiny.text_encoder)
    assert patches.unet.layers.keys() == {"conv_in"}
    assert sorted(patches.unfit) == ["unet.conv_out", "unet.mid_block.resnets.0.norm1"]
    assert len(patches.unmatched) == 3
    assert patches.remark == "changes 1 layers; 4 that it also knows are not in this model, or have another shape"


def test_a_lora_for_another_family_says_so(tmp_path, tiny):
    patches = write(tmp_path / "xl.safetensors", {"lora_te2_text_model_encoder_layers_0_mlp_fc1.diff": ones(2, 2)}).patches(
        tiny.unet, tiny.text_encoder
    )
    assert patches.remark == "changes nothing: it was made for another model family"


def test_tensors_of_too_few_dimensions_are_reported_not_fatal(tmp_path, tiny):
    file = write(tmp_path / "a.safetensors", {
        "lora_unet_conv_in.lora_up.weight": ones(1).squeeze(), "lora_unet_conv_in.lora_down.weight": ones(3),
        "lora_unet_conv_out.lora_up.weight": ones(4), "lora_unet_conv_out.lora_down.weight": ones(4),
        "lora_unet_time_embedding_linear_1.oft_blocks": ones(3),
        "lora_unet_time_embedding_linear_2.hada_w1_a": ones(3), "lora_unet_time_embedding_linear_2.hada_w1_b": ones(0, 3),
        "lora_unet_time_embedding_linear_2.hada_w2_a": ones(3), "lora_unet_time_embedding_linear_2.hada_w2_b": ones(3),
    })  # fmt: skip
    patches = file.patches(tiny.unet, tiny.text_encoder)
    assert not patches.unet.layers
    assert len(patches.unfit) == 4


@pytest.mark.parametrize("wrap", [lambda tensors: tensors, lambda tensors: {"state_dict": tensors, "epoch": 3}])
def test_pickled_files_are_read_too(tmp_path, tiny, wrap):
    path = write_torch(tmp_path / "old.pt", wrap({"lora_unet_conv_in.diff": nn.Parameter(ones(32, 4, 3, 3))}))
    unet, _, _ = patched(tiny, read_lora(path))
    torch.testing.assert_close(unet.conv_in.weight, tiny.unet.conv_in.weight + 1)


def test_bundled_embeddings_come_along(tmp_path, tiny):
    file = write(tmp_path / "a.safetensors", {
        "lora_unet_conv_in.diff": ones(32, 4, 3, 3),
        "bundle_emb.one.emb_params": ones(2, 32),
        "bundle_emb.two.string_to_param.*": ones(3, 32),
        "bundle_emb.two.string_to_token.*": torch.tensor(265),
        "bundle_emb.xl.clip_l": ones(1, 32), "bundle_emb.xl.clip_g": ones(1, 40),
        "bundle_emb.broken.emb_params": ones(1, 2, 3),
    })  # fmt: skip
    assert {embedding.name: tuple(embedding.vectors.shape) for embedding in file.embeddings} == {
        "one": (2, 32),
        "two": (3, 32),
        "xl": (1, 32),
    }
    assert file.patches(tiny.unet, tiny.text_encoder).remark is None


@pytest.mark.parametrize("name", ["a.safetensors", "a.pt"])
def test_a_file_without_anything_of_a_lora_is_refused(tmp_path, name):
    tensors = {"model.diffusion_model.out.2.weight": ones(2), "something.bias": ones(2)}
    (save_file if name.endswith("s") else lambda tensors, path: write_torch(path, tensors))(tensors, tmp_path / name)
    with pytest.raises(ModelError, match=rf"{name} is no LoRA: none of its 2 tensors"):
        read_lora(tmp_path / name)


@pytest.mark.parametrize("name", ["a.safetensors", "a.pt"])
def test_a_missing_or_damaged_file_is_a_model_error(tmp_path, name):
    with pytest.raises(ModelError, match=rf"{name} cannot be read"):
        read_lora(tmp_path / name)
    (tmp_path / name).write_bytes(b"half a file")
    with pytest.raises(ModelError, match=name):
        read_lora(tmp_path / name)

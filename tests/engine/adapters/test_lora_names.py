import pytest
from torch import nn

from webui.catalog.ldm_layout import unet_name
from webui.engine.adapters.lora_names import Layer, LayerNames, split_name

TO_Q = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
TO_OUT = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0"
RESNET = "up_blocks.1.resnets.1.conv2"
FC1 = "encoder.layers.1.mlp.fc1"


@pytest.fixture(scope="module")
def names(tiny):
    return LayerNames(tiny.unet, tiny.text_encoder)


SPELLED = [
    ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.lora_down.weight", TO_Q, "lora_down.weight"),
    ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.alpha", TO_Q, "alpha"),
    ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_out_0.hada_w1_a", TO_OUT, "hada_w1_a"),
    ("lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q.lokr_w2_b", TO_Q, "lokr_w2_b"),
    ("lora_unet_output_blocks_3_0_out_layers_3.diff", RESNET, "diff"),
    ("lora_unet_up_blocks_1_resnets_1_norm2.w_norm", "up_blocks.1.resnets.1.norm2", "w_norm"),
    ("lora_unet_time_embed_2.alpha", "time_embedding.linear_2", "alpha"),
    ("lora_unet_out_2.alpha", "conv_out", "alpha"),
    ("lycoris_unet_conv_in.oft_blocks", "conv_in", "oft_blocks"),
    ("oft_unet_input_blocks_0_0.oft_diag", "conv_in", "oft_diag"),
    ("diffusion_model_input_blocks_0_0.alpha", "conv_in", "alpha"),
    (f"unet.{TO_Q}.lora_A.weight", TO_Q, "lora_down.weight"),
    (f"unet.{TO_Q}.lora_B.default.weight", TO_Q, "lora_up.weight"),
    (f"unet.{TO_Q}.lora_magnitude_vector", TO_Q, "lora_magnitude_vector"),
    (f"unet.{TO_Q}.lora_magnitude_vector.weight", TO_Q, "lora_magnitude_vector"),
    (f"unet.{TO_Q}.lora.down.weight", TO_Q, "lora_down.weight"),
    (f"unet.{TO_Q}.alpha", TO_Q, "alpha"),
    (f"base_model.model.{TO_Q}.lora_A.weight", TO_Q, "lora_down.weight"),
    (f"base_model.model.unet.{TO_Q}.lokr_w1", TO_Q, "lokr_w1"),
    (f"{TO_Q}.hada_t1", TO_Q, "hada_t1"),
    ("unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.down.weight", TO_Q, "lora_down.weight"),
    ("down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_out_lora.up.weight", TO_OUT, "lora_up.weight"),
    (f"unet.{TO_OUT}.lora_A.weight", TO_OUT, "lora_down.weight"),
    (f"unet.{RESNET}.a1.weight", RESNET, "a1.weight"),
]  # fmt: skip

SPELLED_TEXT = [
    ("lora_te_text_model_encoder_layers_1_mlp_fc1.lora_up.weight", "lora_up.weight"),
    ("lora_te1_text_model_encoder_layers_1_mlp_fc1.lora_up.weight", "lora_up.weight"),
    ("lora_te_encoder_layers_1_mlp_fc1.lora_up.weight", "lora_up.weight"),
    ("text_encoder.text_model.encoder.layers.1.mlp.fc1.lora_linear_layer.up.weight", "lora_up.weight"),
    ("text_encoder.encoder.layers.1.mlp.fc1.lora_B.weight", "lora_up.weight"),
    ("base_model.model.text_model.encoder.layers.1.mlp.fc1.lora_B.weight", "lora_up.weight"),
    ("transformer_text_model_encoder_layers_1_mlp_fc1.lora_up.weight", "lora_up.weight"),
]  # fmt: skip


@pytest.mark.parametrize(("tensor", "path", "part"), SPELLED)
def test_a_unets_layer_is_found_by_every_way_of_naming_it(names, tensor, path, part):
    assert names.find(tensor) == (Layer("unet", path), part)


@pytest.mark.parametrize(("tensor", "part"), SPELLED_TEXT)
def test_a_text_encoders_layer_is_found_by_every_way_of_naming_it(names, tensor, part):
    assert names.find(tensor) == (Layer("text_encoder", FC1), part)


@pytest.mark.parametrize("tensor", [
    "lora_unet_down_blocks_9_attentions_0_proj_in.alpha",
    "lora_te2_text_model_encoder_layers_1_mlp_fc1.alpha",
    "lora_unet_down_blocks_0_attentions_0.alpha",
    "lora_unet_encoder_layers_1_mlp_fc1.alpha",
    "lora_te_conv_in.alpha",
    "model.diffusion_model.input_blocks.99.0.op.alpha",
    "",
    ".alpha",
])  # fmt: skip
def test_what_is_in_neither_module_is_not_found(names, tensor):
    assert names.find(tensor)[0] is None


def test_every_layer_with_a_weight_is_found_by_kohyas_name_and_by_the_original_models(names, tiny, deep):
    for model in (tiny, deep):
        names = LayerNames(model.unet, model.text_encoder)
        up_attention = tuple(reversed(model.shape.attention))
        weighted = [path for path, layer in model.unet.named_modules() if isinstance(getattr(layer, "weight", None), nn.Parameter)]
        assert len(weighted) > 50
        for path in weighted:
            original = unet_name(f"{path}.weight", layers=model.shape.layers, up_attention=up_attention).removesuffix(".weight")
            for name in (path, original):
                assert names.find(f"lora_unet_{name.replace('.', '_')}.alpha")[0] == Layer("unet", path), name


@pytest.mark.parametrize(("tensor", "name", "part"), [
    ("lora_unet_conv_in.lora_down.weight", "lora_unet_conv_in", "lora_down.weight"),
    ("lora_unet_conv_in.lora_A.weight", "lora_unet_conv_in", "lora_down.weight"),
    ("unet.conv_in.lora_down.weight", "unet_conv_in", "lora_down.weight"),
    ("unet.conv_in.weight", "unet_conv_in", "weight"),
    ("unet.conv_in", "unet_conv_in", ""),
])  # fmt: skip
def test_a_name_is_split_into_layer_and_part(tensor, name, part):
    assert split_name(tensor) == (name, part)

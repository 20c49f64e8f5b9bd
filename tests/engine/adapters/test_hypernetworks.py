import copy

import pytest
import torch
from torch import nn

from tests.engine.adapters.torch_files import write_torch
from webui.core.errors import ModelError
from webui.engine.adapters.hypernetworks import ACTIVATIONS, AppliedHypernetworks, read_hypernetwork

SIZE = 32


def network(structure=(1, 0.5, 1), activation=None, *, norm=False, activate_last=False, dropout_after=(), seed=0, size=SIZE):
    """A network as A1111 builds it, with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = []
        for place in range(len(structure) - 1):
            outside = int(size * structure[place + 1])
            layers.append(nn.Linear(int(size * structure[place]), outside))
            if activation and (place < len(structure) - 2 or activate_last):
                layers.append(activation())
            if norm:
                layers.append(nn.LayerNorm(outside))
            if place + 1 in dropout_after:
                layers.append(nn.Dropout(0.3))
        return nn.Sequential(*layers).eval()


def state_of(network):
    return {f"linear.{name}": tensor for name, tensor in network.state_dict().items()}


def write(path, keys, values, size=SIZE, **description):
    """A file of one width.  description: as A1111 writes it."""
    usual = {"step": 5, "name": "inner", "layer_structure": [1, 0.5, 1], "activation_func": None, "activate_output": False}
    return write_torch(path, {size: (state_of(keys), state_of(values)), **usual, **description})


def same(read, expected, x):
    with torch.inference_mode():
        assert torch.equal(read(x), expected(x))


@pytest.fixture
def x():
    return torch.randn(2, 5, SIZE, generator=torch.Generator().manual_seed(4))


# --- files


VARIANTS = {
    "plain": ({}, {}),
    "deeper": ({"structure": (1, 2, 0.25, 1)}, {"layer_structure": [1, 2, 0.25, 1]}),
    "straight": ({"structure": (1, 1)}, {"layer_structure": [1, 1]}),
    "norms": ({"norm": True}, {"is_layer_norm": True}),
    "relu": ({"activation": nn.ReLU}, {"activation_func": "relu"}),
    "relu at the end too": ({"activation": nn.ReLU, "activate_last": True}, {"activation_func": "relu", "activate_output": True}),
    "swish is hard swish": ({"activation": nn.Hardswish}, {"activation_func": "swish"}),
    "linear is none": ({}, {"activation_func": "linear"}),
    "a learned activation": ({"activation": nn.PReLU}, {"activation_func": "prelu"}),
    "dropouts": (
        {"structure": (1, 2, 2, 1), "activation": nn.Tanh, "dropout_after": (1, 2)},
        {"layer_structure": [1, 2, 2, 1], "activation_func": "tanh", "dropout_structure": [0, 0.1, 0.2, 0]},
    ),
    "dropouts of older files": (
        {"structure": (1, 2, 2, 1), "dropout_after": (1,)},
        {"layer_structure": [1, 2, 2, 1], "use_dropout": True, "last_layer_dropout": False},
    ),
    "a dropout before the last layer": (
        {"structure": (1, 2, 2, 1), "dropout_after": (1, 2)},
        {"layer_structure": [1, 2, 2, 1], "use_dropout": True, "last_layer_dropout": True},
    ),
    "no dropout in a short one": ({"structure": (1, 2, 1)}, {"layer_structure": [1, 2, 1], "use_dropout": True}),
    "everything": (
        {"structure": (1, 1.5, 1), "activation": nn.GELU, "activate_last": True, "norm": True, "dropout_after": (1,)},
        {
            "layer_structure": [1, 1.5, 1], "activation_func": "gelu", "activate_output": True, "is_layer_norm": True,
            "dropout_structure": [0, 0.3, 0],
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_file_is_read_as_a1111_wrote_it(tmp_path, x, variant):
    options, description = VARIANTS[variant]
    keys, values = network(**options, seed=1), network(**options, seed=2)
    hypernetwork = read_hypernetwork(write(tmp_path / "h.pt", keys, values, **description))
    assert hypernetwork.name == "h"
    assert hypernetwork.networks.keys() == {SIZE}
    for read, expected in zip(hypernetwork.networks[SIZE], (keys, values), strict=True):
        same(read, expected, x)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_every_activation_of_a1111s_is_known(tmp_path, x, name):
    kind = {"linear": None, "swish": nn.Hardswish}.get(
        name, next((one for one in vars(nn).values() if getattr(one, "__name__", "").lower() == name), None)
    )
    keys = network(activation=kind)
    read = read_hypernetwork(write(tmp_path / "h.pt", keys, keys, activation_func=name))
    same(read.networks[SIZE][0], keys, x)


def test_the_first_versions_names_are_understood(tmp_path, x):
    keys = network((1, 2, 1))
    state = {name.replace("linear.0", "linear1").replace("linear.1", "linear2"): tensor for name, tensor in state_of(keys).items()}
    read = read_hypernetwork(write_torch(tmp_path / "h.pt", {SIZE: (state, state)}))
    same(read.networks[SIZE][0], keys, x)


def test_half_precision_files_are_computed_in_full(tmp_path):
    keys = network().half()
    read = read_hypernetwork(write(tmp_path / "h.pt", keys, keys))
    assert {tensor.dtype for tensor in read.networks[SIZE][0].state_dict().values()} == {torch.float32}


def test_a_hypernetwork_read_within_inference_mode_can_be_used_outside_of_it(tmp_path, x):
    with torch.inference_mode():
        read = read_hypernetwork(write(tmp_path / "h.pt", network(), network()))
    read.networks[SIZE][0](x)


REFUSED = {
    "no widths": (lambda path: write_torch(path, {"name": "x"}), "changes no width"),
    "not a dictionary": (lambda path: write_torch(path, [1]), "changes no width"),
    "one network": (lambda path: write_torch(path, {SIZE: (state_of(network()),)}), "has not two networks"),
    "numbers for networks": (lambda path: write_torch(path, {SIZE: (1, 2)}), "has not two networks"),
    "softmax": (lambda path: write(path, network(), network(), activation_func="softmax"), "activation 'softmax'"),
    "a structure that ends elsewhere": (lambda path: write(path, network(), network(), layer_structure=[1, 2]), "begin and end with 1"),
    "a structure of words": (lambda path: write(path, network(), network(), layer_structure=[1, "a", 1]), "cannot be built"),
    "an endless structure": (lambda path: write(path, network(), network(), layer_structure=[1] * 1000), "begin and end with 1"),
    "a structure that needs huge memory": (lambda path: write(path, network(), network(), layer_structure=[1, 1e9, 1]), "cannot be built"),
    "an infinite structure": (lambda path: write(path, network(), network(), layer_structure=[1, 1e999, 1]), "cannot be built"),
    "too few dropouts": (lambda path: write(path, network(), network(), dropout_structure=[0]), "cannot be built"),
    "another width": (lambda path: write(path, network(), network(), size=64), "cannot be built"),
    "a missing tensor": (lambda path: write(path, network((1, 1)), network()), "cannot be built"),
    "one tensor too many": (lambda path: write(path, network(norm=True), network()), "cannot be built"),
    "texts for tensors": (lambda path: write_torch(path, {SIZE: ({"linear.0.weight": "x"},) * 2}), "has not two networks"),
    "numbers for names": (lambda path: write_torch(path, {SIZE: ({1: torch.ones(1)},) * 2}), "has not two networks"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_hypernetwork_is_refused_with_its_reason(tmp_path, case):
    write_it, reason = REFUSED[case]
    with pytest.raises(ModelError, match=rf"h\.pt .*{reason}"):
        read_hypernetwork(write_it(tmp_path / "h.pt"))


# --- acting in a UNet


@pytest.fixture
def hypernetworks(tmp_path):
    """Two: of the context's width, and of the width of the tiny UNet's upper attention, which is the same number."""
    return [read_hypernetwork(write(tmp_path / f"{seed}.pt", network(seed=seed), network(seed=seed + 1))) for seed in (3, 5)]


@pytest.fixture
def unet(tiny):
    return copy.deepcopy(tiny.unet).requires_grad_(False)


@pytest.fixture
def ask():
    generator = torch.Generator().manual_seed(9)
    latents, context = torch.randn(2, 4, 8, 8, generator=generator), torch.randn(2, 77, SIZE, generator=generator)

    def run(unet, dtype=torch.float32):
        with torch.inference_mode():
            return unet(latents.to(dtype), torch.tensor([500.0]), context.to(dtype), return_dict=False)[0]

    return run


def attention_of(layer, hidden, context, chain):
    """Attention written out, with hypernetworks before to_k and to_v."""
    keys = values = context
    for hypernetwork, strength in chain:
        if context.shape[-1] in hypernetwork.networks:
            for_keys, for_values = hypernetwork.networks[context.shape[-1]]
            keys, values = keys + for_keys(keys) * strength, values + for_values(values) * strength
    q, k, v = layer.to_q(hidden), layer.to_k(keys), layer.to_v(values)
    q, k, v = (part.unflatten(-1, (layer.heads, -1)).transpose(1, 2) for part in (q, k, v))
    attended = ((q @ k.transpose(-1, -2) * layer.scale).softmax(dim=-1) @ v).transpose(1, 2).flatten(2)
    return layer.to_out[0](attended)


@pytest.mark.parametrize("name", ["attn1", "attn2"])
def test_keys_and_values_are_made_of_the_changed_context_in_self_and_cross_attention(unet, hypernetworks, name):
    layer = getattr(
        unet.mid_block.attentions[0].transformer_blocks[0] if name == "attn2" else unet.down_blocks[0].attentions[0].transformer_blocks[0],
        name,
    )
    generator = torch.Generator().manual_seed(8)
    hidden = torch.randn(2, 16, layer.to_q.in_features, generator=generator)
    context = torch.randn(2, 7, SIZE, generator=generator) if name == "attn2" else None
    chain = [(hypernetworks[0], 0.8), (hypernetworks[1], -0.4)]
    AppliedHypernetworks(unet).apply(chain)
    with torch.inference_mode():
        ours = layer(hidden, encoder_hidden_states=context)
        for hook in (layer.to_k._forward_pre_hooks, layer.to_v._forward_pre_hooks):
            hook.clear()
        expected = attention_of(layer, hidden, hidden if context is None else context, chain)
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)


def test_another_width_is_left_alone(tmp_path, unet, ask):
    before = ask(unet)
    other = read_hypernetwork(write(tmp_path / "h.pt", network(size=24), network(size=24), size=24))
    AppliedHypernetworks(unet).apply([(other, 1.0)])
    assert torch.equal(ask(unet), before)


def test_removal_leaves_no_trace_and_the_same_bits(unet, hypernetworks, ask):
    before, weights = ask(unet), {name: tensor.clone() for name, tensor in unet.state_dict().items()}
    applied = AppliedHypernetworks(unet)
    applied.apply([(hypernetworks[0], 0.8)])
    assert not torch.equal(ask(unet), before)
    applied.remove()
    assert torch.equal(ask(unet), before)
    assert not any(module._forward_pre_hooks for module in unet.modules())
    assert all(torch.equal(tensor, weights[name]) for name, tensor in unet.state_dict().items())


def test_sets_are_exchanged_and_an_unchanged_one_is_left(unet, hypernetworks, ask):
    one, two = hypernetworks
    applied = AppliedHypernetworks(unet)
    assert applied.apply([(one, 0.5)])
    alone = ask(unet)
    assert not applied.apply([(one, 0.5), (two, 0.0)])
    assert applied.apply([(two, 1.0), (one, 0.5)])
    assert not torch.equal(ask(unet), alone)
    assert applied.apply([(one, 0.5)])
    assert torch.equal(ask(unet), alone)
    assert applied.apply([])
    assert applied.wanted == ()


def test_in_a_half_precision_unet_they_work_in_its_precision(unet, hypernetworks, ask):
    applied = AppliedHypernetworks(unet)
    applied.apply([(hypernetworks[0], 0.8)])
    full = ask(unet)
    half = ask(unet.to(torch.bfloat16), torch.bfloat16)
    assert half.dtype == torch.bfloat16
    assert (half.float() - full).std() < 0.05 * full.std()
    assert next(hypernetworks[0].networks[SIZE][0].parameters()).dtype == torch.float32

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from webui.catalog.adapters import identify_adapter
from webui.core.errors import InvalidRequest
from webui.core.new_hypernetwork import MAX_BYTES, WEIGHT_INITS, new_hypernetwork
from webui.engine.adapters.hypernetworks import ACTIVATIONS, read_hypernetwork
from webui.engine.adapters.new_hypernetwork import write_hypernetwork

SMALL = {"sizes": (16, 24)}


def written(tmp_path: Path, *, seed: int | None = 1, **values: Any) -> Path:
    file = tmp_path / "new.pt"
    write_hypernetwork(new_hypernetwork(**{**SMALL, **values}), "new", file, seed=seed)
    return file


@pytest.mark.parametrize(
    "values",
    [
        {}, {"structure": "1, 2, 0.5, 1", "activation": "relu", "layer_norm": True},
        {"structure": (1, 1.5, 2, 1), "activation": "prelu", "dropouts": (0, 0.1, 0.3, 0)}, {"structure": (1, 1)},
    ],
)  # fmt: skip
def test_a_new_hypernetwork_is_read_and_listed_as_one(tmp_path: Path, values: dict[str, Any]) -> None:
    file = written(tmp_path, **values)
    read = read_hypernetwork(file)
    assert sorted(read.networks) == [16, 24]
    for size, pair in read.networks.items():
        for network in pair:
            assert network(torch.ones(1, 2, size)).shape == (1, 2, size)
    assert identify_adapter(file).family == "hypernetwork"


def test_the_file_says_what_a1111_asks_of_it(tmp_path: Path) -> None:
    content = torch.load(written(tmp_path, structure=(1, 2, 2, 1), dropouts=(0, 0.1, 0.2, 0), activation="swish"), weights_only=True)
    assert {name: value for name, value in content.items() if isinstance(name, str)} == {
        "step": 0, "name": "new", "layer_structure": [1.0, 2.0, 2.0, 1.0], "activation_func": "swish", "is_layer_norm": False,
        "weight_initialization": "Normal", "sd_checkpoint": None, "sd_checkpoint_name": None, "activate_output": False,
        "use_dropout": True, "dropout_structure": [0.0, 0.1, 0.2, 0.0], "last_layer_dropout": True, "optional_info": None,
    }  # fmt: skip
    keys, values = content[16]
    # Linear, activation and dropout each take a place; the last layer has neither.
    assert list(keys) == list(values) == [f"linear.{place}.{part}" for place in (0, 3, 6) for part in ("weight", "bias")]
    assert type(content[24]) is tuple


@pytest.mark.parametrize(("way", "spread"), [
    ("Normal", 0.01), ("XavierUniform", (2 / (16 + 64)) ** 0.5), ("XavierNormal", (2 / (16 + 64)) ** 0.5),
    ("KaimingUniform", (2 / 16) ** 0.5), ("KaimingNormal", (2 / 16) ** 0.5),
])  # fmt: skip
def test_the_first_weights_are_spread_as_their_papers_say(tmp_path: Path, way: str, spread: float) -> None:
    content = torch.load(written(tmp_path, sizes=(16,), structure=(1, 4, 1), weight_init=way), weights_only=True)
    first = content[16][0]["linear.0.weight"]
    assert first.std().item() == pytest.approx(spread, rel=0.15)
    bound = spread * 3**0.5
    assert (first.abs().max() <= bound) == way.endswith("Uniform")
    assert not content[16][0]["linear.0.bias"].any()
    assert not torch.equal(first, content[16][1]["linear.0.weight"])  # keys and values begin apart


def test_the_seed_decides_the_weights_and_torchs_own_generator_is_left_alone(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    contents = [written(tmp_path, seed=seed, activation="prelu").read_bytes() for seed in (1, 1, None, None)]
    assert torch.equal(before, torch.get_rng_state())
    assert contents[0] == contents[1]
    assert len(set(contents)) == 3


def test_every_activation_that_can_be_read_can_be_made(tmp_path: Path) -> None:
    for activation in ACTIVATIONS:
        read = read_hypernetwork(written(tmp_path, sizes=(8,), activation=activation))
        assert isinstance(read.networks[8][0][0], nn.Linear)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"structure": (2, 1)}, "begins and ends with 1"), ({"structure": "1, x, 1"}, "commas"), ({"structure": (1, 1e9, 1)}, "at most 64"),
        ({"structure": (1, -1, 1)}, "layer_structure"), ({"structure": (1, 0.001, 1)}, "would have none"), ({"structure": ""}, "structure"),
        ({"sizes": (0,)}, "enable_sizes"), ({"sizes": ()}, "sizes"), ({"sizes": (10**9,)}, "enable_sizes"),
        ({"weight_init": "Zeros"}, "XavierUniform"),
        ({"dropouts": (0, 0.5)}, "3 numbers"), ({"dropouts": (0, 0.5, 0.5)}, "the last"), ({"dropouts": (0, 1.0, 0)}, "below 1"),
        ({"sizes": (8192,), "structure": (1, *[64] * 62, 1)}, "GB"),
    ],
)  # fmt: skip
def test_what_cannot_be_made_is_refused_with_its_rule(values: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        new_hypernetwork(**values)


def test_an_unknown_activation_is_told_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="relu"):
        written(tmp_path, activation="rellu")


@pytest.mark.parametrize("values", [{}, {"layer_norm": True, "structure": (1, 2, 3, 1)}, {"activation": "prelu"}])
def test_the_size_is_told_before_it_is_made(tmp_path: Path, values: dict[str, Any]) -> None:
    wish = new_hypernetwork(sizes=(320,), **values)
    write_hypernetwork(wish, "new", tmp_path / "new.pt", seed=1)
    assert (tmp_path / "new.pt").stat().st_size == pytest.approx(wish.bytes, rel=0.01)
    assert wish.bytes < MAX_BYTES


def test_every_way_of_beginning_is_tested() -> None:
    assert len(WEIGHT_INITS) == 5

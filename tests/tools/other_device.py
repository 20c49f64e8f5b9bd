"""A pretended GPU, so that tests see what would fail on a real one: its tensors compute on the CPU and refuse to meet the CPU's.

It cannot show what else a GPU may refuse: lower precision, compiled code, the optimizer's own kernels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

OTHER = torch.device("lazy:0")
"""A kind of device of which torch demands nothing."""
INDEXING = (torch.ops.aten.index.Tensor, torch.ops.aten.index_put.default, torch.ops.aten.index_put_.default)
"""On a GPU's tensors they take indices that are on the CPU."""
TOGETHER = (torch.ops.aten.cat.default, torch.ops.aten.stack.default)
"""They take not even single numbers from the CPU."""


class Elsewhere(torch.Tensor):
    """Says that it is on that device.   numbers: on the CPU."""

    numbers: torch.Tensor

    @staticmethod
    def __new__(cls, numbers: torch.Tensor) -> Elsewhere:
        shell = torch.Tensor._make_wrapper_subclass(
            cls, numbers.shape, numbers.stride(), numbers.storage_offset(), dtype=numbers.dtype, device=OTHER
        )
        shell.numbers = numbers
        return shell

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, inputs: Any = (), named: Any = None) -> Any:
        """As the mode below does."""
        return _computed(operation, inputs, named or {})


class _Pretending(TorchDispatchMode):
    def __torch_dispatch__(self, operation: Any, types: Any, inputs: Any = (), named: Any = None) -> Any:
        return _computed(operation, inputs, named or {})


@contextmanager
def pretended_device() -> Iterator[torch.device]:
    """In its body tensors can be made on and moved to the answer.  What computes with tensors of both devices raises RuntimeError."""
    swapped, lifted = torch.__future__.get_swap_module_params_on_conversion(), torch._C._only_lift_cpu_tensors()
    torch.__future__.set_swap_module_params_on_conversion(True)
    torch._C._set_only_lift_cpu_tensors(True)  # so that torch.tensor(numbers, device=...) is seen, too
    try:
        with patch.object(torch.cuda, "_lazy_init"), _Pretending():
            yield OTHER
    finally:
        torch.__future__.set_swap_module_params_on_conversion(swapped)
        torch._C._set_only_lift_cpu_tensors(lifted)


def _computed(operation: Any, inputs: Any, named: dict[str, Any]) -> Any:
    given = [value for value in tree_flatten((inputs, named))[0] if isinstance(value, torch.Tensor)]
    elsewhere = [value for value in given if isinstance(value, Elsewhere)]
    asked = named.get("device")
    there = bool(elsewhere) if asked is None else torch.device(asked).type == OTHER.type
    if elsewhere and operation is not torch.ops.aten.copy_.default:
        checked = given if operation not in INDEXING else [inputs[0], *inputs[2:3]]
        numbers_too = operation in TOGETHER
        strangers = [tuple(value.shape) for value in checked if not isinstance(value, Elsewhere) and (value.dim() or numbers_too)]
        if strangers:
            raise RuntimeError(f"{operation} is given tensors of {OTHER} and of the CPU {strangers}")
    if asked is not None:
        named = {**named, "device": torch.device("cpu")}
    answer = operation(*tree_map(_numbers, inputs), **tree_map(_numbers, named))
    if operation._schema.is_mutable:
        return inputs[0]
    return tree_map(lambda value: Elsewhere(value) if isinstance(value, torch.Tensor) else value, answer) if there else answer


def _numbers(value: Any) -> Any:
    return value.numbers if isinstance(value, Elsewhere) else value

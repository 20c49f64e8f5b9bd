"""Changing a module's weights and putting them back: the originals are kept as they are, and what is changed is a copy."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import torch
from torch import nn

from webui.engine.adapters.lora_layers import Changes, LayerChange, add_all, add_plain_loras

INPAINTING_CHANNELS = (5, 8, 9)


@dataclass(frozen=True)
class ModulePatches:
    """What one file changes in one module.  Equal when they are the same version of the same file.

    version: tells files, and states of one file, apart.   layers: by path in the module.
    """

    version: Hashable
    layers: Mapping[str, LayerChange] = field(compare=False, repr=False)


Wanted = Sequence[tuple[ModulePatches, float]]


@dataclass(frozen=True)
class _Slot:
    """A place for one parameter of one layer.  key: "weight" or "bias"."""

    path: str
    key: str


class AppliedPatches:
    """Owner of what is applied to one module.

    The original parameters are only put aside, so mapped files are never written to, and taking the patches off puts the very
    same tensors back. Not to be used from two threads at once. Restore before the module gets other weights.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._originals: dict[_Slot, nn.Parameter | None] = {}
        self._wanted: tuple[tuple[ModulePatches, float], ...] = ()

    @property
    def wanted(self) -> tuple[tuple[ModulePatches, float], ...]:
        """What is applied now."""
        return self._wanted

    def apply(self, wanted: Wanted) -> bool:
        """Make the weights the originals with these patches, each with its strength, one after another; False if they were.

        Sums are made in float32 and rounded once. When it fails, the originals are back.
        """
        effective = tuple((patches, strength) for patches, strength in wanted if strength and patches.layers)
        if effective == self._wanted:
            return False
        self._wanted = ()  # whatever happens from here on, the old set is no longer what is there
        try:
            with torch.inference_mode(False), torch.no_grad():
                self._change(effective)
        except BaseException:
            self.restore()
            raise
        self._wanted = effective
        return True

    def restore(self) -> None:
        """Put the originals back, on the device where their copies were."""
        self._take_off(list(self._originals))
        self._wanted = ()

    def _change(self, wanted: Wanted) -> None:
        changes = _by_layer(wanted)
        slots = {slot for path, parts in changes.items() for slot in _slots(path, parts)}
        self._take_off([slot for slot in self._originals if slot not in slots])
        largest = max((self._original(slot).numel() for slot in slots if slot.key == "weight"), default=0)
        scratch: torch.Tensor | None = None
        for path, parts in changes.items():
            weight = self._copy(_Slot(path, "weight"))
            if weight.dtype != torch.float32 and (scratch is None or scratch.device != weight.device):
                scratch = torch.empty(largest, device=weight.device)
            _sum_up(weight, self._original(_Slot(path, "weight")), parts, scratch)
            if _Slot(path, "bias") in slots:
                self._change_bias(path, weight, parts)

    def _change_bias(self, path: str, weight: torch.Tensor, parts: Changes) -> None:
        """weight: the layer's, for the place and the dtype of a bias where the layer had none."""
        slot = _Slot(path, "bias")
        original = self._originals.get(slot, self._module.get_submodule(path)._parameters["bias"])
        total = torch.zeros(len(weight), device=weight.device)
        if original is not None:
            total.copy_(original)
        for change, strength in parts:
            if change.bias is not None:
                total.add_(change.bias.to(total), alpha=strength)
        self._put(slot, total.to(weight.dtype if original is None else original.dtype))

    def _copy(self, slot: _Slot) -> torch.Tensor:
        """A private copy in the place of the original, whose numbers are still to be set; one left by an earlier set is used again."""
        if slot not in self._originals:
            original = self._original(slot)
            self._put(slot, torch.empty_like(original, memory_format=torch.contiguous_format))
        copy = self._module.get_submodule(slot.path)._parameters[slot.key]
        assert copy is not None
        return copy

    def _original(self, slot: _Slot) -> torch.Tensor:
        original = self._originals.get(slot, self._module.get_submodule(slot.path)._parameters[slot.key])
        assert original is not None
        return original

    def _put(self, slot: _Slot, tensor: torch.Tensor) -> None:
        parameters = self._module.get_submodule(slot.path)._parameters
        self._originals.setdefault(slot, parameters[slot.key])
        parameters[slot.key] = nn.Parameter(tensor, requires_grad=False)

    def _take_off(self, slots: Sequence[_Slot]) -> None:
        """Put originals back, where their copies were: offloading may have moved those meanwhile."""
        for slot in slots:
            parameters = self._module.get_submodule(slot.path)._parameters
            copy, original = parameters[slot.key], self._originals.pop(slot)
            if original is not None and copy is not None and original.device != copy.device:
                original = nn.Parameter(original.to(copy.device), requires_grad=False)
            parameters[slot.key] = original


def _by_layer(wanted: Wanted) -> dict[str, list[tuple[LayerChange, float]]]:
    layers: dict[str, list[tuple[LayerChange, float]]] = {}
    for patches, strength in wanted:
        for path, change in patches.layers.items():
            layers.setdefault(path, []).append((change, strength))
    return layers


def _slots(path: str, parts: Changes) -> Iterator[_Slot]:
    yield _Slot(path, "weight")
    if any(change.bias is not None for change, _ in parts):
        yield _Slot(path, "bias")


def _sum_up(copy: torch.Tensor, original: torch.Tensor, parts: Changes, scratch: torch.Tensor | None) -> None:
    """Set the copy to the original plus all changes."""
    is_alike = (original.dtype, original.device) == (torch.float32, copy.device) and original.is_contiguous()
    if is_alike and all(change.plain_lora is not None and change.fits(copy.shape) for change, _ in parts):
        add_plain_loras(original, parts, out=copy)
        return
    total = copy if copy.dtype == torch.float32 or scratch is None else scratch[: copy.numel()].view(copy.shape)
    total.copy_(original)
    for fits_whole, group in groupby(parts, key=lambda entry: entry[0].fits(total.shape)):
        if fits_whole:
            add_all(total, list(group))
        else:
            # Made for the picture's own channels; the further ones, of a mask or a depth, stay as they are.
            own = total[:, :4].contiguous()
            add_all(own, list(group))
            total[:, :4] = own
    if total is not copy:
        copy.copy_(total)


def fits(change: LayerChange, layer: nn.Module) -> bool:
    """Whether a change can be made to a layer, as it is or to the first four channels of a convolution that has more."""
    weight = layer._parameters["weight"]
    assert weight is not None
    shape = tuple(weight.shape)
    if change.bias is not None and ("bias" not in layer._parameters or change.bias.shape != shape[:1]):
        return False
    own = (shape[0], 4, *shape[2:]) if len(shape) == 4 and shape[1] in INPAINTING_CHANNELS else shape
    return change.fits(shape) or change.fits(own)

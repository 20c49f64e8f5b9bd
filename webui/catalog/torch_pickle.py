"""What a pickle of torch.save describes, read as data: a machine of our own follows it and calls nothing.

A pickle is a program for a stack machine; what makes it dangerous is that it may name any function of Python and have it called.
Here a name stays a name and a call stays a note of a call, of which only those that stand for a tensor, a parameter or an
OrderedDict mean anything. The opcodes are those of Python's pickletools.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from webui.core.errors import ModelError

MAX_DIMENSIONS = 8
MAX_COPIED = 1_000_000
# Under which of these a training program keeps the weights themselves.
WRAPPERS = ("state_dict", "model_state_dict")

# What training programs leave beside the weights. It is not even imported; a pickle that names anything else means harm.
_HARMLESS = (
    "torch", "numpy", "collections", "pytorch_lightning", "lightning", "lightning_fabric", "omegaconf", "argparse", "typing", "enum",
    "pathlib", "datetime", "ldm", "sgm", "cldm", "diffusers", "transformers", "accelerate",
)  # fmt: skip
_HARMLESS_NAMES = frozenset(
    {"_codecs encode", *(f"{module} {name}" for module in ("builtins", "__builtin__") for name in (
        "set", "frozenset", "object", "dict", "list", "tuple", "int", "float", "bool", "str", "bytes", "bytearray", "complex", "slice",
    ))}
)  # fmt: skip


@dataclass(frozen=True)
class Storage:
    """Numbers in a row, kept beside the pickle.  kind: torch's name, such as "HalfStorage".   key: where.   count: how many."""

    kind: str
    key: str
    count: int


@dataclass(frozen=True)
class StoredTensor:
    """A part of a storage.  offset, stride: in its numbers.   dtype: torch's name where the storage does not say it, else ""."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: str = ""


@dataclass(frozen=True)
class Name:
    """Something that the pickle names, "module name"; it is not looked up."""

    text: str


@dataclass(eq=False)
class Foreign:
    """An object that is none of the above.  name: its class or maker.   state: what it would be given."""

    name: str
    state: Any = None


@dataclass
class _Machine:
    """The stack, what lies below its marks, and the memo."""

    stack: list[Any] = field(default_factory=list)
    below: list[list[Any]] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)
    copied: int = 0

    def since_mark(self) -> list[Any]:
        """Take what lies above the last mark."""
        items, self.stack = self.stack, self.below.pop()
        return items

    def take(self, count: int) -> list[Any]:
        """Take so many from the top, the lowest first."""
        if len(self.stack) < count:
            raise IndexError("stack")
        items = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return items


def read_pickle(content: bytes) -> Any:
    """What it describes: dictionaries, lists, tuples, numbers, texts, StoredTensor, and Foreign for the rest.

    Raises ModelError, whose text goes on after the file's name.
    """
    machine, operations = _Machine(), _operations()
    try:
        for operation, argument, _ in pickletools.genops(content):
            if operation.name == "STOP":
                return machine.stack.pop()
            act = operations.get(operation.name)
            if act is None:
                raise ModelError(f"is a pickle that plain tensors would not need ({operation.name}); convert it to .safetensors")
            act(machine, argument)
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        raise ModelError(f"has a damaged pickle ({type(error).__name__}); download it again") from None
    raise ModelError("has a pickle that is cut short; download it again")


def tensors_in(content: Any) -> dict[str, StoredTensor]:
    """The tensors of a model by name, whatever dictionary stands around them.  Raises ModelError where there are none."""
    for wrapper in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    found = {}
    if isinstance(content, dict):
        found = {name: one for name, one in content.items() if isinstance(name, str) and isinstance(one, StoredTensor)}
    if not found:
        raise ModelError("holds no weights of a model")
    return found


# The operations


def _push(machine: _Machine, value: Any) -> None:
    machine.stack.append(value)


def _pushing(make: Callable[[], Any]) -> Callable[[_Machine, Any], None]:
    return lambda machine, _: machine.stack.append(make())


def _mark(machine: _Machine, _: Any) -> None:
    machine.below.append(machine.stack)
    machine.stack = []


def _drop(machine: _Machine, _: Any) -> None:
    machine.take(1)


def _drop_to_mark(machine: _Machine, _: Any) -> None:
    machine.since_mark()


def _tuple_of(count: int) -> Callable[[_Machine, Any], None]:
    return lambda machine, _: machine.stack.append(tuple(machine.take(count)))


def _collected(make: Callable[[list[Any]], Any]) -> Callable[[_Machine, Any], None]:
    def act(machine: _Machine, _: Any) -> None:
        items = machine.since_mark()
        machine.stack.append(make(items))

    return act


def _dict_of(items: list[Any]) -> dict[Any, Any]:
    return dict(zip(items[::2], items[1::2], strict=True))


def _extend(machine: _Machine, items: Iterable[Any]) -> None:
    if isinstance(machine.stack[-1], list):
        machine.stack[-1].extend(items)


def _set_items(machine: _Machine, items: list[Any]) -> None:
    if isinstance(machine.stack[-1], dict):
        machine.stack[-1].update(_dict_of(items))


def _name(machine: _Machine, text: str) -> None:
    module, _, name = text.partition(" ")
    if module.split(".")[0] not in _HARMLESS and text not in _HARMLESS_NAMES:
        shown = f"{module}.{name}"[:80]
        raise ModelError(f"asks for {shown!r}, which weights never need, and which could run code; do not use it")
    machine.stack.append(Name(text))


def _stack_name(machine: _Machine, _: Any) -> None:
    module, name = machine.take(2)
    _name(machine, f"{module} {name}")


def _remember(machine: _Machine, place: int | None) -> None:
    machine.memo[len(machine.memo) if place is None else int(place)] = machine.stack[-1]


def _recall(machine: _Machine, place: Any) -> None:
    machine.stack.append(machine.memo[int(place)])


def _storage(machine: _Machine, _: Any) -> None:
    """A persistent id of torch.save: ("storage", kind, key, where it was, how many numbers, and in old files one thing more)."""
    (identity,) = machine.take(1)
    word, kind, key, _, count = identity[:5]
    if word != "storage" or not isinstance(kind, Name) or not isinstance(key, str) or not _is_size(count):
        raise ModelError("describes a storage in a way that PyTorch does not")
    machine.stack.append(Storage(kind.text.rpartition(" ")[2], key, count))


def _call(machine: _Machine, _: Any) -> None:
    called, arguments = machine.take(2)
    name = called.text if isinstance(called, Name) else ""
    if name == "collections OrderedDict" and arguments:
        # A few bytes can ask for a copy again and again.
        machine.copied += len(arguments[0])
        if machine.copied > MAX_COPIED:
            raise ModelError("copies its lists over and over, which weights never need")
    machine.stack.append(_result_of(name, arguments if isinstance(arguments, tuple) else ()))


def _new(count: int) -> Callable[[_Machine, Any], None]:
    def act(machine: _Machine, _: Any) -> None:
        made, *_rest = machine.take(count)
        machine.stack.append(Foreign(made.text if isinstance(made, Name) else ""))

    return act


def _build(machine: _Machine, _: Any) -> None:
    (state,) = machine.take(1)
    if isinstance(machine.stack[-1], Foreign):
        machine.stack[-1].state = state


def _result_of(name: str, arguments: tuple[Any, ...]) -> Any:
    if name in ("torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_tensor", "torch._utils _rebuild_tensor_v3"):
        dtype = arguments[6].text.rpartition(" ")[2] if name.endswith("v3") and isinstance(arguments[6], Name) else ""
        return _tensor(*arguments[:4], dtype=dtype)
    if name in ("torch._utils _rebuild_parameter", "torch._utils _rebuild_parameter_with_state"):
        return arguments[0]
    if name == "torch Size":
        return tuple(arguments[0][: MAX_DIMENSIONS + 1])
    if name == "collections OrderedDict":
        return dict(arguments[0]) if arguments else {}
    return Foreign(name)


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *, dtype: str) -> StoredTensor:
    if not isinstance(storage, Storage) or not isinstance(shape, tuple) or not isinstance(stride, tuple):
        raise ModelError("describes a tensor in a way that PyTorch does not")
    if len(shape) != len(stride) or len(shape) > MAX_DIMENSIONS or not all(map(_is_size, (offset, *shape, *stride))):
        raise ModelError("describes a tensor of an impossible shape")
    last = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    if 0 not in shape and last >= storage.count:
        raise ModelError("describes a tensor that is larger than what is stored")
    return StoredTensor(storage, offset, shape, stride, dtype)


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _operations() -> Mapping[str, Callable[[_Machine, Any], None]]:
    return {
        **dict.fromkeys(("PROTO", "FRAME"), lambda machine, _: None),
        **dict.fromkeys((
            "BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "UNICODE", "BINUNICODE",
            "SHORT_BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
        ), _push),
        "NONE": _pushing(lambda: None),
        "NEWTRUE": _pushing(lambda: True),
        "NEWFALSE": _pushing(lambda: False),
        "EMPTY_TUPLE": _pushing(tuple),
        "EMPTY_LIST": _pushing(list),
        "EMPTY_DICT": _pushing(dict),
        "EMPTY_SET": _pushing(list),
        "MARK": _mark,
        "POP": _drop,
        "POP_MARK": _drop_to_mark,
        "DUP": lambda machine, _: machine.stack.append(machine.stack[-1]),
        "TUPLE1": _tuple_of(1),
        "TUPLE2": _tuple_of(2),
        "TUPLE3": _tuple_of(3),
        "TUPLE": _collected(tuple),
        "LIST": _collected(list),
        "FROZENSET": _collected(list),
        "DICT": _collected(_dict_of),
        "APPEND": lambda machine, _: _extend(machine, machine.take(1)),
        "APPENDS": lambda machine, _: _extend(machine, machine.since_mark()),
        "ADDITEMS": lambda machine, _: _extend(machine, machine.since_mark()),
        "SETITEM": lambda machine, _: _set_items(machine, machine.take(2)),
        "SETITEMS": lambda machine, _: _set_items(machine, machine.since_mark()),
        "GLOBAL": _name,
        "STACK_GLOBAL": _stack_name,
        "MEMOIZE": _remember,
        **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _remember),
        **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _recall),
        "BINPERSID": _storage,
        "REDUCE": _call,
        "NEWOBJ": _new(2),
        "NEWOBJ_EX": _new(3),
        "BUILD": _build,
    }  # fmt: skip

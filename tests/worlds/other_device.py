"""A device that is not the CPU on a machine that has none: its tensors hold a CPU's.

Code that mixes devices raises here as it does on a GPU, and everything else computes the values of
the CPU, bit by bit. torch takes the tensors for ones of its device ``meta``, which needs no driver.
"""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from recbole.config import Config
from torch import Tensor
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

OTHER = torch.device("meta")
aten = torch.ops.aten
# What takes arguments of a CPU beside a tensor on a GPU: its indices.
MIXES = {aten._to_copy, aten.index, aten.index_put_, aten._index_put_impl_}
# What makes the CPU wait for a GPU.
WAITS = {aten._local_scalar_dense, aten.nonzero, aten._unique2, aten.equal, aten.unique_consecutive}


class OtherTensor(Tensor):
    """A tensor on the other device."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> OtherTensor:
        strides = None if held.layout != torch.strided else held.stride()
        made = Tensor._make_wrapper_subclass(
            cls, held.shape, strides=strides, dtype=held.dtype, layout=held.layout, device=OTHER
        )
        made.held = held
        return made

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["held"], None

    def tolist(self) -> Any:
        return self.held.tolist()

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.held.__reduce_ex__(protocol)

    def __deepcopy__(self, memo: dict) -> Any:
        again = OtherTensor(self.held.detach().clone()).requires_grad_(self.requires_grad)
        again = torch.nn.Parameter(again) if isinstance(self, torch.nn.Parameter) else again
        return memo.setdefault(id(self), again)

    def __repr__(self, **_: Any) -> str:
        return f"other device: {self.held}"

    @classmethod
    def __torch_dispatch__(cls, op: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        return dispatched(op, args, kwargs or {})


class OtherDevice(TorchDispatchMode):
    """While it is active the device ``meta`` has values.

    Attributes:
        waits: how often the CPU has waited for a value of the device, by operation.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(self, op: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        if op.overloadpacket in WAITS and any(map(_is_other, tree_flatten(args)[0])):
            self.waits[op.overloadpacket.__name__] += 1
        return dispatched(op, args, kwargs or {})


def dispatched(op: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """Run an operation on what the tensors hold; its result is where a GPU's would be.

    Raises:
        RuntimeError: where a GPU would refuse, because devices are mixed.
    """
    given = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, Tensor)]
    others, kind = [x for x in given if _is_other(x)], op.overloadpacket
    device = kwargs.get("device") or (OTHER if others else None)
    if not others and device != OTHER:
        return op(*args, **kwargs)
    if others and any(x.dim() > 0 for x in given if not _is_other(x)):
        _check_mix(op, args)
    generator = kwargs.get("generator")
    if device == OTHER and generator is not None and generator.device != OTHER:
        raise RuntimeError(f"Expected a generator of the other device: {op}")
    if "device" in kwargs:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    found = op(*tree_map(_held, args), **tree_map(_held, kwargs))
    if kind is aten.copy_:
        return args[0]
    if kind is aten._to_copy and not others:
        found = found.clone()
    back = {id(x.held): x for x in others}  # operations in place return their argument

    def placed(value: Any) -> Any:
        if not isinstance(value, Tensor) or device != OTHER:
            return value
        return back[id(value)] if id(value) in back else OtherTensor(value)

    return tree_map(placed, found)


def _check_mix(op: Any, args: tuple) -> None:
    """A copy may go either way, and a CPU's indices into a tensor of the device."""
    kind = op.overloadpacket
    if kind is not aten.copy_ and not (kind in MIXES and _is_other(args[0])):
        raise RuntimeError(f"Expected all tensors to be on the same device: {op}")


def _is_other(value: Any) -> bool:
    return isinstance(value, OtherTensor)


def _held(value: Any) -> Any:
    return value.held if _is_other(value) else value


@contextlib.contextmanager
def other_device() -> Iterator[OtherDevice]:
    """Train, resume and evaluate on the other device in this block."""
    init, load, autocast = Config._init_device, torch.load, torch.autocast

    def placed(config: Config) -> None:
        init(config)
        if config.final_config_dict["gpu_id"]:
            config.final_config_dict["device"] = OTHER

    def loaded(path: Any, map_location: Any = None, **given: Any) -> Any:
        found = load(path, map_location="cpu", **given)
        to_other = map_location is not None and torch.device(map_location) == OTHER
        return _moved(found) if to_other else found

    def cast(device_type: str, *args: Any, **given: Any) -> Any:
        return autocast("cpu" if device_type == OTHER.type else device_type, *args, **given)

    fused = "_get_fused_kernels_supported_devices"  # newer versions of torch ask it
    with pytest.MonkeyPatch.context() as patch, OtherDevice() as device:
        patch.setattr(Config, "_init_device", placed)
        patch.setattr(torch, "load", loaded)
        patch.setattr(torch, "autocast", cast)
        supported = lambda: ["cpu", OTHER.type]  # noqa: E731
        patch.setattr(sys.modules[Optimizer.__module__], fused, supported, raising=False)
        yield device


def _moved(value: Any) -> Any:
    """Tensors in dictionaries and lists, at any depth, on the other device."""
    if isinstance(value, Tensor):
        return value.to(OTHER)
    if isinstance(value, dict):
        return type(value)((key, _moved(one)) for key, one in value.items())
    return type(value)(map(_moved, value)) if type(value) in (list, tuple) else value

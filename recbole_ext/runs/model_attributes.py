"""Numbers and arrays in a model's attributes that training changes but no ``state_dict`` holds.

For example, MultiVAE counts its updates in an attribute, and DiffRec keeps the history of its
losses in one.
"""

from __future__ import annotations

from numbers import Number
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

MOST_NUMBERS = 1_000_000  # per tensor or array; a larger one is data, which does not change

State = dict[str, dict[str, Any]]


def capture_attributes(model: nn.Module) -> State:
    """The numbers, dense tensors and arrays in the attributes of a model and its layers.

    Returns:
        The values by the name of the layer and of the attribute.
    """
    layers = {
        name: {key: _copied(value) for key, value in vars(layer).items() if _is_kept(key, value)}
        for name, layer in model.named_modules()
    }
    return {name: kept for name, kept in layers.items() if kept}


def restore_attributes(model: nn.Module, state: State) -> None:
    """Restore captured attributes that still have the same kind and shape."""
    layers = dict(model.named_modules())
    for name, kept in state.items():
        for key, value in kept.items():
            now = vars(layers[name]).get(key) if name in layers else None
            if not _is_kept(key, now):
                continue
            if isinstance(now, Tensor) and isinstance(value, Tensor) and now.shape == value.shape:
                now.copy_(value)  # in place, as other objects may share it
            elif isinstance(now, np.ndarray) and np.shape(value) == now.shape:
                now[...] = value
            elif isinstance(now, Number) and isinstance(value, Number):
                setattr(layers[name], key, value)


def _is_kept(name: str, value: Any) -> bool:
    if name.startswith("_") or name == "training":
        return False
    if isinstance(value, Tensor):
        own = value.layout == torch.strided and not value.requires_grad
        return own and value.numel() <= MOST_NUMBERS
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "biuf" and value.size <= MOST_NUMBERS
    return isinstance(value, Number)


def _copied(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, Tensor) else value

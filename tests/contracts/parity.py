"""The comparison of what two trainings leave, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

# Adam divides the tangents by roots that are nearly 0, which makes their rounding errors larger.
TANGENTS = 1e-8


def assert_alike(found: Any, wanted: Any, name: str, tangents: float = TANGENTS) -> None:
    """Compare nested dictionaries; errors count relative to a tensor's largest element."""
    one, other = flat(found), flat(wanted)
    assert one.keys() == other.keys()
    for key, value in other.items():
        if value.is_floating_point():
            most = tangents if "forward_gradient" in key else 1e-10
            error = (one[key] - value).abs().max() / value.abs().max().clamp(min=1e-300)
            assert error <= most, f"{name} {key}: {error:.1e}"
        else:
            assert torch.equal(one[key], value), f"{name} {key}"


def flat(state: Any, path: str = "") -> dict[str, torch.Tensor]:
    if isinstance(state, dict):
        return {k: v for key, part in state.items() for k, v in flat(part, f"{path}/{key}").items()}
    if isinstance(state, torch.Tensor):
        return {path: state}
    if isinstance(state, (int, float, np.number)):
        return {path: torch.tensor(float(state))}
    return {}

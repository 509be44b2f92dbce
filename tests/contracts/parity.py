"""The comparison of what two trainings leave, in float64."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

# Adam divides the tangents by roots that are nearly 0, which makes their rounding errors larger.
TANGENTS = 1e-8


def differences(
    found: dict[str, Any], wanted: dict[str, Any], tangents: float = TANGENTS
) -> Iterator[str]:
    """What two trainings differ in; errors count relative to a tensor's largest element."""
    if found["metrics"] != wanted["metrics"]:
        yield f"metrics {found['metrics']} instead of {wanted['metrics']}"
    for part in ("model", "modules", "moments"):
        one, other = flat(found[part]), flat(wanted[part])
        if one.keys() != other.keys():
            yield f"{part}: {sorted(one.keys() ^ other.keys())}"
            continue
        for key, value in other.items():
            most = tangents if "forward_gradient" in key else 1e-10
            error = (one[key] - value).abs().max() / value.abs().max().clamp(min=1e-300)
            if not error <= most:
                yield f"{part} {key}: {error:.1e}"


def flat(state: Any, path: str = "") -> dict[str, torch.Tensor]:
    """Nested dictionaries of tensors and numbers as one dictionary of tensors in float64."""
    if isinstance(state, dict):
        return {k: v for key, part in state.items() for k, v in flat(part, f"{path}/{key}").items()}
    if isinstance(state, torch.Tensor):
        return {path: state.double()}
    if isinstance(state, (int, float, np.number)):
        return {path: torch.tensor(float(state))}
    return {}

"""Several processes train what one process trains, in float64: parameters, λ, moments, memories."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.worlds.several import CASES, all_trained, together, trained

# Adam divides the tangents by roots that are nearly 0, which makes their rounding errors larger.
MOST, MOST_OF_TANGENTS = 1e-10, 1e-8


@pytest.mark.parametrize("processes", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_several_processes_train_what_one_trains(processes: int, tmp_path: Path) -> None:
    of_several = together(processes, all_trained, str(tmp_path))
    wrong = []
    for case in CASES:
        alone = trained(case, str(tmp_path))
        assert alone["steps"] >= 20 or "ItemKNN" in case, case
        for rank, found in enumerate(of_several):
            wrong += [f"{case}, process {rank}: {it}" for it in differences(found[case], alone)]
            if not same_bits(found[case], of_several[0][case]):
                wrong.append(f"{case}: process {rank} has other bits than process 0")
        assert of_several[0][case]["sent"] > 0, case
    assert not wrong, "\n".join(wrong)


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> Iterator[str]:
    """What differs; errors count relative to a tensor's largest element."""
    if found["metrics"] != wanted["metrics"]:
        yield f"metrics {found['metrics']} instead of {wanted['metrics']}"
    for part in ("model", "modules", "moments"):
        one, other = flat(found[part]), flat(wanted[part])
        assert one.keys() == other.keys()
        for key, value in other.items():
            most = MOST_OF_TANGENTS if "forward_gradient" in key else MOST
            error = (one[key] - value).abs().max() / value.abs().max().clamp(min=1e-300)
            if error > most:
                yield f"{part} {key}: {error:.1e}"


def same_bits(one: dict[str, Any], other: dict[str, Any]) -> bool:
    ours, theirs = flat(one["model"]), flat(other["model"])
    return all(torch.equal(value, theirs[name]) for name, value in ours.items())


def flat(state: Any, path: str = "") -> dict[str, torch.Tensor]:
    """Nested dictionaries of tensors and numbers as one dictionary of tensors in float64."""
    if isinstance(state, dict):
        return {k: v for key, part in state.items() for k, v in flat(part, f"{path}/{key}").items()}
    if isinstance(state, torch.Tensor):
        return {path: state.double()}
    if isinstance(state, (int, float, np.number)):
        return {path: torch.tensor(float(state))}
    return {}

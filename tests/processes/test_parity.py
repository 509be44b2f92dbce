"""Several processes train what one process trains, in float64: parameters, λ, moments, memories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.worlds.several import CASES, all_trained, together, trained

# Adam divides the tangents by roots that are nearly 0, which makes their rounding errors larger.
TANGENTS = 1e-8


@pytest.fixture(scope="module", params=[2, 3])
def of_several(request: pytest.FixtureRequest, tmp_path_factory: Any) -> list[dict[str, Any]]:
    """The results of all cases, process by process."""
    folder = tmp_path_factory.mktemp("together")
    return together(request.param, all_trained, str(folder))


@pytest.mark.parametrize("case", CASES)
def test_several_processes_train_what_one_trains(
    case: str, of_several: list[dict[str, Any]], tmp_path: Path
) -> None:
    alone = trained(case, str(tmp_path))
    assert alone["steps"] >= 20
    for found in of_several:
        assert found[case]["metrics"] == alone["metrics"]
        for part in ("model", "modules", "moments"):
            assert_alike(found[case][part], alone[part], f"{case}: {part}")


@pytest.mark.parametrize("case", CASES)
def test_all_processes_hold_the_same_to_the_last_bit(
    case: str, of_several: list[dict[str, Any]]
) -> None:
    first, *others = (flat(found[case]["model"]) for found in of_several)
    for other in others:
        assert all(torch.equal(first[name], other[name]) for name in first)


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

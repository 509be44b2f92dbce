"""Several processes train what one process trains, in float64: parameters, λ, moments, memories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.contracts.parity import assert_alike, flat
from tests.worlds.several import CASES, all_trained, together, trained


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

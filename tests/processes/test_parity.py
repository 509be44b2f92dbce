"""Several processes train what one process trains, in float64: parameters, λ, moments, memories."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.contracts.parity import differences, flat
from tests.worlds.several import CASES, all_trained, together, trained


@pytest.mark.parametrize("processes", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_several_processes_train_what_one_trains(processes: int, tmp_path: Path) -> None:
    of_several = together(processes, all_trained, str(tmp_path))
    wrong = []
    for case in CASES:
        alone = trained(case, str(tmp_path))
        first = flat(of_several[0][case]["model"])
        assert alone["steps"] >= 20 or "ItemKNN" in case, case
        assert of_several[0][case]["sent"] > 0, case
        for rank, found in enumerate(of_several):
            wrong += [f"{case}, process {rank}: {it}" for it in differences(found[case], alone)]
            held = flat(found[case]["model"])
            if not all(torch.equal(value, held[name]) for name, value in first.items()):
                wrong.append(f"{case}: process {rank} has other bits than process 0")
    assert not wrong, "\n".join(wrong)

"""Sums by shared memory are those of gloo, and a process that has ended is named."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys

import pytest
import torch

from recbole_ext.processes import shared_memory as sums
from recbole_ext.processes.group import add_up, group
from tests.worlds.several import together

here = pytest.mark.skipif(not sums.FOLDER.is_dir(), reason="this machine has no /dev/shm")


@here
@pytest.mark.parametrize("processes", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_sums_of_any_length(processes: int) -> None:
    before = set(sums.FOLDER.glob("recbole_ext-*"))
    for found in together(processes, some_sums):
        assert found["shared"]
        for length, summed in found["sums"].items():
            each = [numbers(rank, length) for rank in range(processes)]
            assert torch.equal(summed, torch.stack(each).sum(0)), length
    assert set(sums.FOLDER.glob("recbole_ext-*")) <= before  # nothing is left behind


def some_sums() -> dict[str, object]:
    """Sums of several lengths, one after another without a pause."""
    lengths = (1, 3, 1000, sums.PLACE // 8, sums.PLACE // 8 + 1, 2 * sums.PLACE // 8 + 5, 7)
    found = {n: add_up(numbers(group().rank, n)) for n in lengths for _ in range(3)}
    return {"shared": group().memory is not None, "sums": found}


def numbers(rank: int, length: int) -> torch.Tensor:
    return torch.arange(length, dtype=torch.double) * (rank + 1) + rank


@here
def test_a_process_that_has_ended_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sums, "LOOK", 0.01)
    other = subprocess.Popen([sys.executable, "-c", "pass"])
    other.wait()
    memory = mmap.mmap(-1, 2 * (sums.LINE + 2 * sums.PLACE))
    shared = sums.SharedMemory(memory, 0, [os.getpid(), other.pid])
    with pytest.raises(RuntimeError, match="gloo: process 1 has closed the connection"):
        shared.add_up(torch.ones(3))

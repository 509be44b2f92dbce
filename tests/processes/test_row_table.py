"""Tables whose rows are spread over processes: drawing, reading, putting together, dealing out."""

from __future__ import annotations

import pytest
import torch

from recbole_ext.processes import row_table
from recbole_ext.processes.group import group
from recbole_ext.processes.row_table import RowOwner
from tests.worlds.several import together

SIZES = [1, 2, 5, 31, 47, 48, 66, 200]


@pytest.mark.parametrize("columns", [1, 3, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_drawn_rows_are_those_of_the_whole_table(
    columns: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_table, "BLOCK", 16)
    for n_rows in SIZES:
        whole = torch.empty(n_rows, columns, dtype=dtype)
        torch.manual_seed(3)
        whole.normal_(0, 0.1)
        after = torch.rand(1)
        for rank in range(3):
            owner = RowOwner(n_rows, rank, 3)
            part = torch.zeros(len(owner), columns, dtype=dtype)
            torch.manual_seed(3)
            owner.draw(part, 0.1)
            assert torch.equal(part, whole[owner.own])
            assert torch.equal(torch.rand(1), after)


def test_one_owner_holds_all_and_copies_nothing() -> None:
    owner, table, ids = RowOwner(4), torch.rand(4, 2), torch.tensor([3, 0, 3])
    assert len(owner) == 4
    assert owner.held(ids).rows is ids
    assert owner.near(ids).of(table) is table
    assert owner.whole(table) is owner.sum(table) is owner.complete(table, ids) is table
    assert torch.equal(owner.read(table, ids), table[ids])


@pytest.mark.parametrize("processes", [2, 3])
def test_rows_come_from_their_owners(processes: int) -> None:
    for rank, found in enumerate(together(processes, exchanged)):
        assert all(found["alike"])
        assert found["at first"] is (rank == 0)


def exchanged() -> dict[str, object]:
    """What each process gets of some tables that all know."""
    row_table.BLOCK = 16
    alike, at_first = [], []
    for n_rows in SIZES:
        table = torch.arange(n_rows * 2.0).view(n_rows, 2)
        owner = RowOwner.of_one(n_rows)
        part = table[owner.own].clone()
        ids = torch.randint(n_rows, (9,), generator=torch.Generator().manual_seed(n_rows))
        held, near = owner.held(ids), owner.near(ids)
        dealt = torch.empty_like(part)
        owner.deal_out(table if group().rank == 0 else None, dealt)
        gathered = owner.whole_at_first(part)
        at_first.append(gathered is not None and torch.equal(gathered, table))
        alike += [
            torch.equal(owner.read(part, ids), table[ids]),
            torch.equal(near.of(part)[near.places], table[ids]),
            torch.equal(part[held.rows], table[ids][held.places]),
            torch.equal(owner.whole(part), table),
            torch.equal(owner.sum(part.sum()), table.sum()),
            torch.equal(dealt, part),
        ]
    return {"alike": alike, "at first": all(at_first)}


def test_bytes_do_not_depend_on_the_size_of_the_table() -> None:
    (small, large), _ = together(2, sent)
    assert small == large > 0


def sent() -> list[int]:
    found = []
    for n_rows in (100, 10_000):
        owner = RowOwner.of_one(n_rows)
        before = group().sent
        owner.read(torch.zeros(len(owner), 8), torch.arange(7, 50))
        found.append(group().sent - before)
    return found

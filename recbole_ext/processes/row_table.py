"""Tables whose rows are spread over the processes: who owns which row, and rows put together.

Row ``r`` is owned by process ``r % size``, which alone holds its values and all that belongs to
it, such as the moments of an optimiser. What a process holds of a table is called its part. All
processes know which rows a batch needs, so that only values travel between them, and how many does
not depend on the size of the table. With one owner the part is the whole table, and nothing is
copied.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from recbole_ext.processes.group import add_up, deal_out, group, put_together, to_first

BLOCK = 65_536  # rows that are drawn, gathered or dealt out at a time; a multiple of 16


class Held(NamedTuple):
    """Those of some rows that this process owns.

    Attributes:
        places: their positions among the rows, as an index.
        rows: where they are in this process's part of the table, shape: [held]
    """

    places: Tensor | slice
    rows: Tensor


class Near(NamedTuple):
    """Rows that a computation reads, as places in a table that all processes have.

    Attributes:
        places: a place for each row that was asked for.
        owner: the owner of the rows.
        distinct: the ids of the rows in the table; ``None``: it is the whole table.
    """

    places: Tensor
    owner: RowOwner
    distinct: Tensor | None = None

    def of(self, part: Tensor) -> Tensor:
        """The table with these rows, from each process's part, shape: [distinct, ...]."""
        return part if self.distinct is None else self.owner.read(part, self.distinct)


@dataclass(frozen=True)
class RowOwner:
    """Which rows of a table this process owns.

    Attributes:
        n_rows: rows of the whole table.
        rank: this process's number among the owners.
        size: the number of owners; 1: each process holds all rows.
    """

    n_rows: int
    rank: int = 0
    size: int = 1

    @classmethod
    def of_one(cls, n_rows: int) -> RowOwner:
        """The owner of a table of which this process is to hold its own rows."""
        return cls(n_rows, group().rank, group().size)

    def __len__(self) -> int:
        return len(range(self.rank, self.n_rows, self.size))

    @property
    def own(self) -> slice:
        """This process's rows as an index of the whole table."""
        return slice(self.rank, None, self.size)

    @property
    def is_spread(self) -> bool:
        """Whether other processes own other rows."""
        return self.size > 1

    def held(self, ids: Tensor) -> Held:
        """Those of some rows that this process owns, in the order of ``ids``."""
        if not self.is_spread:
            return Held(slice(None), ids)
        places = (ids % self.size == self.rank).nonzero().squeeze(1)
        return Held(places, ids[places] // self.size)

    def complete(self, rows: Tensor, ids: Tensor) -> Tensor:
        """The values of some rows, of which each process gives those that it owns.

        Args:
            rows: this process's values, in the order of ``held(ids)``, shape: [held, ...]
            ids: the rows, the same in all processes, shape: [rows]

        Returns:
            Shape: [rows, ...]
        """
        if not self.is_spread or not len(ids):
            return rows
        owners = ids % self.size
        found = put_together(rows, owners.bincount(minlength=self.size).tolist())
        return torch.empty_like(found).index_copy_(0, owners.argsort(stable=True), found)

    def read(self, part: Tensor, ids: Tensor) -> Tensor:
        """Some rows of the table; with one owner differentiable.

        Args:
            part: this process's part, shape: [own rows, ...]
            ids: the rows, the same in all processes, shape: [rows]

        Returns:
            Shape: [rows, ...]
        """
        if not self.is_spread:
            return part.index_select(0, ids)
        return self.complete(part.detach().index_select(0, self.held(ids).rows), ids)

    def near(self, ids: Tensor) -> Near:
        """Prepare to read some rows, each of which is sent once even if it occurs several times."""
        if not self.is_spread:
            return Near(ids, self)
        distinct, places = ids.unique(return_inverse=True)
        return Near(places, self, distinct)

    def sum(self, values: Tensor) -> Tensor:
        """The sum of what each process has for the rows that it owns."""
        return add_up(values.clone()) if self.is_spread else values

    def whole(self, part: Tensor) -> Tensor:
        """The whole table, in all processes, shape: [n_rows, ...]."""
        if not self.is_spread:
            return part
        sizes = [len(range(rank, self.n_rows, self.size)) for rank in range(self.size)]
        found = put_together(part, sizes)
        table = torch.empty_like(found)
        for rank, rows in enumerate(found.split(sizes)):
            table[rank :: self.size] = rows
        return table

    def whole_at_first(self, part: Tensor) -> Tensor | None:
        """The whole table on the CPU of the first process, block by block; ``None`` elsewhere."""
        if not self.is_spread:
            return part
        table = None
        if self.rank == 0:
            table = torch.empty(self.n_rows, *part.shape[1:], dtype=part.dtype)
        for begin in self._blocks():
            found = to_first(self._block(part, begin))
            if table is not None:
                for rank, rows in enumerate(found):
                    target = table[rank :: self.size][begin : begin + BLOCK]
                    target.copy_(rows[: len(target)])
        return table

    @torch.no_grad()
    def deal_out(self, table: Tensor | None, part: Tensor) -> None:
        """Write into each process's part its rows of a table that the first process has.

        Args:
            table: the whole table in the first process, shape: [n_rows, ...]
            part: receives the rows, shape: [own rows, ...]
        """
        if not self.is_spread:
            assert table is not None
            part.copy_(table)
            return
        for begin in self._blocks():
            received = torch.empty_like(self._block(part, begin))
            blocks = None
            if table is not None:
                ranks = range(self.size)
                blocks = [self._block(table[r :: self.size], begin).to(received) for r in ranks]
            deal_out(received, blocks)
            target = part[begin : begin + BLOCK]
            target.copy_(received[: len(target)])

    @torch.no_grad()
    def draw(self, part: Tensor, std: float) -> None:
        """Fill a part with its rows of a whole table of normal numbers.

        On a CPU they are those of ``Tensor.normal_``, which draws for 16 numbers at a time.

        Args:
            part: shape: [own rows, ...]
            std: the standard deviation.
        """
        if not self.is_spread:
            part.normal_(0, std)
            return
        ends = [*range(BLOCK, self.n_rows - 15, BLOCK), self.n_rows]
        for begin, end in zip([0, *ends], ends, strict=False):
            block = part.new_empty(end - begin, *part.shape[1:]).normal_(0, std)
            first = (self.rank - begin) % self.size
            rows = block[first :: self.size]
            at = (begin + first) // self.size
            part[at : at + len(rows)] = rows

    def _blocks(self) -> range:
        """Where the blocks of the largest part begin, the same in all processes."""
        return range(0, len(RowOwner(self.n_rows, 0, self.size)), BLOCK)

    def _block(self, part: Tensor, begin: int) -> Tensor:
        """A block of a part, with as many rows in all processes; the last may be a zero."""
        largest = len(RowOwner(self.n_rows, 0, self.size))
        rows = part.detach()[begin : min(begin + BLOCK, largest)]
        full = rows.new_zeros(min(BLOCK, largest - begin), *part.shape[1:])
        full[: len(rows)] = rows
        return full

"""Tables of λ for users and items; the granularity sets whether λ varies by row and dimension.

Reference:
    Chen et al. "λOpt: Learn to Regularize Recommender Models in Finer Levels." KDD 2019.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Axes(NamedTuple):
    """Whether the λ of one side (users or items) varies by row and by embedding dimension."""

    by_row: bool = False
    by_dimension: bool = False


class Granularity(NamedTuple):
    """The axes of each side (``None``: not regularised), and whether both share one table."""

    user: Axes | None
    item: Axes | None
    shared: bool = False


_ROW, _DIMENSION, _BOTH = Axes(by_row=True), Axes(by_dimension=True), Axes(True, True)

GRANULARITIES: dict[str, Granularity] = {
    "global": Granularity(Axes(), Axes(), shared=True),
    "double-global": Granularity(Axes(), Axes()),
    "global-user": Granularity(Axes(), None),
    "dimension": Granularity(_DIMENSION, _DIMENSION, shared=True),
    "double-dimension": Granularity(_DIMENSION, _DIMENSION),
    "user": Granularity(_ROW, None),
    "item": Granularity(None, _ROW),
    "user+item": Granularity(_ROW, _ROW),
    "dimension+user": Granularity(_BOTH, _DIMENSION),
    "dimension+item": Granularity(_DIMENSION, _BOTH),
    "dimension+user+item": Granularity(_BOTH, _BOTH),
}


# The granularities with one number per table. The forward-mode gradient needs such few λ, because
# its cost grows with their number.
FEW = tuple(
    name for name, axes in GRANULARITIES.items() if all(a in (None, Axes()) for a in axes[:2])
)


class LambdaNetwork(nn.Module):
    """Non-negative regularisation strengths λ, looked up by user and by item.

    Args:
        granularity: one of :data:`GRANULARITIES`.
        n_users: number of user rows.
        n_items: number of item rows.
        embedding_size: number of dimensions.
        initial: initial value of every λ, ``>= 0``.
        sparse: whether gradients hold the looked-up rows only, as ``SparseAdam`` needs them.
        scaled: whether each row's λ has its own factor, which is 1 until :meth:`scale` sets it.

    Raises:
        ValueError: for an unknown granularity or a negative initial value.
    """

    def __init__(
        self,
        granularity: str,
        n_users: int,
        n_items: int,
        embedding_size: int,
        initial: float = 0.0,
        sparse: bool = False,
        scaled: bool = False,
    ) -> None:
        super().__init__()
        if granularity not in GRANULARITIES:
            known = ", ".join(GRANULARITIES)
            raise ValueError(f"granularity must be one of {known}; got {granularity!r}")
        if not initial >= 0:
            raise ValueError(f"initial must not be negative, got {initial!r}")
        axes = GRANULARITIES[granularity]
        self.sparse, self._axes = sparse, axes
        self.row_owners: dict[str, Any] = {}  # of the tables, for checkpoints
        self.tables = nn.ParameterDict()
        self._table_of = {side: "shared" if axes.shared else side for side in ("user", "item")}
        for side, varies, n_rows in (("user", axes.user, n_users), ("item", axes.item, n_items)):
            name = self._table_of[side]
            if varies is not None and name not in self.tables:
                rows = n_rows if varies.by_row else 1
                columns = embedding_size if varies.by_dimension else 1
                self.tables[name] = nn.Parameter(torch.full((rows, columns), initial))
            self.register_buffer(f"{side}_scale", torch.ones(n_rows, 1) if scaled else None)

    @torch.no_grad()
    def scale(self, side: str, factors: Tensor) -> None:
        """Set the factor of each row of the ``"user"`` or ``"item"`` side, shape: [n_rows]."""
        self.scale_of(side).copy_(factors.unsqueeze(-1))

    def scale_of(self, side: str) -> Tensor:
        """The factors of a side's rows, shape: [n_rows, 1]; without factors a 1, shape: [1, 1]."""
        factors = getattr(self, f"{side}_scale")
        return torch.ones(1, 1, device=self._device()) if factors is None else factors

    def user(self, ids: Tensor | slice) -> Tensor:
        """λ of some users.

        Args:
            ids: internal user ids, shape: [rows]; ``slice(None)`` for all.

        Returns:
            Strengths, shape: [rows, embedding_size]; an axis along which λ does not vary may have
            the size 1.
        """
        return self._lookup("user", ids)

    def item(self, ids: Tensor | slice) -> Tensor:
        """λ of some items; shapes as in :meth:`user`."""
        return self._lookup("item", ids)

    @torch.no_grad()
    def fixed(self, side: str, ids: Tensor | slice) -> Tensor | None:
        """λ of some rows of a side, held fixed; ``None`` if the side is not regularised."""
        return None if self.side_table(side) is None else self._lookup(side, ids)

    @torch.no_grad()
    def whole(self, side: str) -> Tensor:
        """λ of all rows of a side, shape: [1 or n_rows, 1 or embedding_size]."""
        return self._lookup(side, slice(None))

    @torch.no_grad()
    def add_gradient(
        self,
        side: str,
        ids: Tensor | slice,
        gradient: Tensor,
        total: Callable[[Tensor], Tensor] = lambda of_rows: of_rows,
    ) -> None:
        """Add a gradient with respect to the λ of some rows to their table's ``grad``.

        Args:
            side: ``"user"`` or ``"item"``; nothing is done if this side is not regularised.
            ids: distinct rows, in ascending order, shape: [rows]; ``slice(None)`` for all.
            gradient: the gradient as if each row and dimension had its own λ,
                shape: [rows, embedding_size]
            total: adds up what all processes have for a λ that rows have in common.
        """
        table, factors = self.side_table(side), getattr(self, f"{side}_scale")
        if table is None or not table.requires_grad:
            return
        if factors is not None:
            gradient = gradient * factors[ids]
        by_row = self.varies_by_row(side)
        rows = gradient.sum_to_size(len(gradient) if by_row else 1, table.shape[1])
        if not by_row:
            rows = total(rows)
            ids = torch.zeros(1, dtype=torch.long, device=table.device)
        elif isinstance(ids, slice):
            ids = torch.arange(len(table), device=table.device)
        if self.sparse:
            found = torch.sparse_coo_tensor(
                ids.unsqueeze(0), rows, table.shape, check_invariants=False, is_coalesced=True
            )
        else:
            found = torch.zeros_like(table).index_copy_(0, ids, rows)
        table.grad = found if table.grad is None else table.grad + found

    def _lookup(self, side: str, ids: Tensor | slice) -> Tensor:
        table = self.side_table(side)
        if table is None:
            return torch.zeros(1, 1, device=self._device())
        if isinstance(ids, slice):
            rows = torch.arange(len(table), device=table.device)[ids]
        else:
            rows = ids if self.varies_by_row(side) else torch.zeros_like(ids)
        strength = F.embedding(rows, table, sparse=self.sparse)
        factors = getattr(self, f"{side}_scale")
        return strength if factors is None else strength * factors[ids]

    @property
    def weights(self) -> nn.ParameterDict:
        """The numbers that are learnt, by name; here the tables of λ."""
        return self.tables

    def slope(self, weight: str, side: str, ids: Tensor | slice = slice(None)) -> Tensor | None:
        """``∂λ/∂weight`` of a side's rows, for a table of one number.

        Returns:
            Slopes, shape: [rows or 1, 1]; ``None`` if the weight is not of this side.
        """
        if self._table_of[side] != weight or not self.regularises(side):
            return None
        scale = self.scale_of(side)
        return scale if len(scale) == 1 else scale[ids]

    def regularises(self, side: str) -> bool:
        """Whether a side has a λ."""
        return self.side_table(side) is not None

    def varies_by_row(self, side: str) -> bool:
        """Whether each row of a side has a λ of its own."""
        axes = getattr(self._axes, side)
        return axes is not None and axes.by_row

    def summary(self) -> dict[str, str]:
        """The mean λ as text."""
        mean = sum(table.mean().item() for table in self.tables.values()) / len(self.tables)
        return {"mean λ": f"{mean:.2e}"}

    def side_table(self, side: str) -> Tensor | None:
        """The table of a side, shape: [1 or n_rows, 1 or embedding_size]; ``None`` without one."""
        name = self._table_of[side]
        return self.tables.get(name)

    def _device(self) -> torch.device:
        return next(self.parameters()).device

    @torch.no_grad()
    def clamp(self) -> None:
        """Set negative λ to 0; with a sparse gradient, only in the rows that it holds."""
        for table in self.tables.values():
            if table.grad is None or not table.grad.is_sparse:
                table.clamp_(min=0)
            else:
                rows = table.grad._indices()[0]
                table.index_copy_(0, rows, table.index_select(0, rows).clamp_(min=0))

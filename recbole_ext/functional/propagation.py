"""Multiplying by the sparse matrix of a graph model, over and over.

Learning λ takes a graph model through its layers several times a batch. torch multiplies a sparse
matrix in coordinates by sorting it again at each backward step; in compressed rows it is several
times faster, and a symmetric matrix needs no transposing.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class SymmetricMatrix:
    """Stands in for a symmetric sparse tensor, with a faster ``torch.sparse.mm``.

    Anything else asked of it is answered by the tensor.

    Args:
        matrix: a symmetric sparse tensor without a gradient, shape: [n, n]
    """

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix
        with warnings.catch_warnings():  # that torch calls its compressed rows a beta
            warnings.simplefilter("ignore", UserWarning)
            self.rows = matrix.coalesce().to_sparse_csr()

    def __getattr__(self, name: str) -> Any:
        if name in ("matrix", "rows"):  # not there yet while it is copied
            raise AttributeError(name)
        return getattr(self.matrix, name)

    @classmethod
    def __torch_function__(
        cls, function: Callable, _: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """What torch calls in place of a function of its own that is given such a matrix."""
        if function is torch.sparse.mm and isinstance(args[0], cls):
            return _Multiply.apply(args[0].rows, args[1])
        plain = [arg.matrix if isinstance(arg, cls) else arg for arg in args]
        return function(*plain, **(kwargs or {}))


class _Multiply(torch.autograd.Function):
    """A symmetric matrix times a dense one; its derivative is the same product again."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, dense: Tensor) -> Tensor:
        ctx.rows = rows
        return rows @ dense

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        return None, _Multiply.apply(ctx.rows, gradient)


def fast_symmetric(value: Any) -> Any:
    """A :class:`SymmetricMatrix` for a symmetric sparse tensor; anything else comes back as it is.

    So does the tensor where this torch cannot multiply compressed rows (some builds without MKL).
    """
    if not isinstance(value, Tensor) or value.layout != torch.sparse_coo or value.requires_grad:
        return value
    if value.dim() != 2 or value.shape[0] != value.shape[1]:
        return value
    one, other = value.coalesce(), value.t().coalesce()
    if not torch.equal(one.indices(), other.indices()):
        return value
    if not torch.equal(one.values(), other.values()):
        return value
    fast = SymmetricMatrix(value)
    try:
        torch.sparse.mm(fast, torch.zeros(len(value), 1).to(value))
    except RuntimeError:
        return value
    return fast

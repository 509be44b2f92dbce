"""Fast multiplication by the symmetric sparse matrix of a graph model.

Learning λ runs the layers of a graph model several times per batch. torch sorts a sparse matrix in
COO format anew in each backward pass. In CSR format the product is several times faster, and a
symmetric matrix needs no transposition.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class SymmetricMatrix:
    """A substitute for a symmetric sparse tensor, with a faster ``torch.sparse.mm``.

    All its other attributes and operations are those of the tensor.

    Args:
        matrix: a symmetric sparse tensor without a gradient, shape: [n, n]
    """

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix
        with warnings.catch_warnings():  # torch warns that its CSR format is a beta
            warnings.simplefilter("ignore", UserWarning)
            self.rows = matrix.coalesce().to_sparse_csr()

    def __getattr__(self, name: str) -> Any:
        if name in ("matrix", "rows"):  # not set yet while an object is copied
            raise AttributeError(name)
        return getattr(self.matrix, name)

    @classmethod
    def __torch_function__(
        cls, function: Callable, _: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Torch calls this method in place of a torch function that is given such a matrix."""
        if function is torch.sparse.mm and isinstance(args[0], cls):
            return _Multiply.apply(args[0].rows, args[1])
        plain = [arg.matrix if isinstance(arg, cls) else arg for arg in args]
        return function(*plain, **(kwargs or {}))


class _Multiply(torch.autograd.Function):
    """The product of a symmetric and a dense matrix; its backward pass is such a product too."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, dense: Tensor) -> Tensor:
        ctx.rows = rows
        return rows @ dense

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        return None, _Multiply.apply(ctx.rows, gradient)


def fast_symmetric(value: Any) -> Any:
    """A :class:`SymmetricMatrix` for a symmetric sparse tensor; other values are returned as is.

    The tensor too is returned as is if torch cannot multiply in CSR format (some builds without
    MKL).
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

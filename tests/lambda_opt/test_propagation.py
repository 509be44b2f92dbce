"""A symmetric sparse matrix in compressed rows is the same matrix."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from recbole_ext.lambda_opt.gradient.symmetric_matrix import SymmetricMatrix, fast_symmetric
from tests.worlds.helpers import Run


@pytest.fixture
def matrix() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    places = torch.randint(0, 30, (2, 120), generator=generator)
    values = torch.rand(120, generator=generator, dtype=torch.float64)
    half = torch.sparse_coo_tensor(places, values, (30, 30), check_invariants=True)
    return half + half.t()


def product(matrix: Tensor, dense: Tensor) -> Tensor:
    return torch.sparse.mm(matrix, dense).tanh()


def test_products_and_both_derivatives_are_right(matrix: Tensor) -> None:
    fast = fast_symmetric(matrix)
    assert isinstance(fast, SymmetricMatrix)
    dense = torch.randn(30, 4, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(product(fast, dense), product(matrix.to_dense(), dense))
    assert torch.autograd.gradcheck(lambda x: product(fast, x), dense)
    assert torch.autograd.gradgradcheck(lambda x: product(fast, x), dense)


def test_anything_else_is_answered_by_the_tensor(matrix: Tensor) -> None:
    fast = copy.deepcopy(fast_symmetric(matrix))
    assert fast.shape == (30, 30)
    assert fast._nnz() == matrix._nnz()
    assert torch.sparse.sum(fast) == torch.sparse.sum(matrix)


def test_what_is_not_symmetric_stays_as_it_is(matrix: Tensor) -> None:
    one = torch.sparse_coo_tensor(
        [[0], [1]], [1.0], (30, 30), dtype=torch.float64, check_invariants=True
    )
    for other in (
        matrix + one,
        matrix.to_dense(),
        one.index_select(0, torch.arange(5)),
        "text",
        None,
    ):
        assert fast_symmetric(other) is other


def test_graph_models_that_learn_lambda_have_it_and_others_do_not() -> None:
    plain = Run("LightGCN").model
    learning = Run("LightGCN", regularizer="lambda_opt").model
    assert isinstance(plain.norm_adj_matrix, Tensor)
    assert isinstance(learning.norm_adj_matrix, SymmetricMatrix)
    for one, other in zip(plain.forward(), learning.forward(), strict=True):
        torch.testing.assert_close(one, other)

from __future__ import annotations

import pytest
import torch

from recbole_ext.lambda_opt.gradient.clipping import clip_gradient_norm
from recbole_ext.lambda_opt.lambda_network import GRANULARITIES, LambdaNetwork

N_USERS, N_ITEMS, D = 4, 5, 3

SHAPES = {  # λ of users, λ of items; none: not regularised
    "global": {"shared": (1, 1)},
    "double-global": {"user": (1, 1), "item": (1, 1)},
    "global-user": {"user": (1, 1)},
    "dimension": {"shared": (1, D)},
    "double-dimension": {"user": (1, D), "item": (1, D)},
    "user": {"user": (N_USERS, 1)},
    "item": {"item": (N_ITEMS, 1)},
    "user+item": {"user": (N_USERS, 1), "item": (N_ITEMS, 1)},
    "dimension+user": {"user": (N_USERS, D), "item": (1, D)},
    "dimension+item": {"user": (1, D), "item": (N_ITEMS, D)},
    "dimension+user+item": {"user": (N_USERS, D), "item": (N_ITEMS, D)},
}


def test_a_rows_factor_multiplies_its_lambda_and_its_gradient() -> None:
    made = LambdaNetwork("global", N_USERS, N_ITEMS, D, initial=0.5, scaled=True)
    made.scale("user", torch.tensor([1.0, 2, 3, 4]))
    ids = torch.tensor([3, 1, 3])
    assert made.user(ids).tolist() == [[2.0], [1.0], [2.0]]
    assert made.user(slice(None)).flatten().tolist() == [0.5, 1.0, 1.5, 2.0]
    assert made.item(ids).tolist() == [[0.5]] * 3  # no factor given yet
    made.user(ids).sum().backward()
    assert made.tables["shared"].grad.item() == 10
    with pytest.raises(RuntimeError, match="size"):
        made.scale("item", torch.ones(N_USERS))


def network(granularity: str, sparse: bool = False) -> LambdaNetwork:
    made = LambdaNetwork(granularity, N_USERS, N_ITEMS, D, sparse=sparse).double()
    for index, table in enumerate(made.tables.values()):
        table.data.copy_(torch.arange(table.numel()).view_as(table) + 100 * index)
    return made


def test_the_granularities_have_their_shapes() -> None:
    assert list(GRANULARITIES) == list(SHAPES)
    for granularity, shapes in SHAPES.items():
        tables = LambdaNetwork(granularity, N_USERS, N_ITEMS, D).tables
        assert {name: tuple(table.shape) for name, table in tables.items()} == shapes
        assert all((table == 0).all() for table in tables.values())


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_lookup_takes_the_row_of_its_side(granularity: str) -> None:
    made, ids = network(granularity), torch.tensor([2, 0, 2])
    for side, n_rows in (("user", N_USERS), ("item", N_ITEMS)):
        table = made.side_table(side)
        zeros = torch.zeros(3, D).double()
        expected = zeros if table is None else table.expand(n_rows, D)[ids]
        found = getattr(made, side)(ids)
        torch.testing.assert_close(found.expand(3, D).double(), expected, rtol=0, atol=0)


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_sparse_gradients_are_the_dense_ones(granularity: str) -> None:
    ids, weights = torch.tensor([2, 0, 2]), torch.randn(3, D).double()
    gradients = []
    for sparse in (False, True):
        made = network(granularity, sparse)
        total = (made.user(ids) * weights).sum() + (made.item(ids) * weights**2).sum()
        total.backward()
        norm = clip_gradient_norm(made.parameters(), max_norm=0.5)
        grads = {name: table.grad for name, table in made.tables.items()}
        assert all(grad.is_sparse == sparse for grad in grads.values())
        gradients.append({name: grad.to_dense() for name, grad in grads.items()})
        gradients[-1]["norm"] = norm
        clipped = torch.cat([g.flatten() for n, g in gradients[-1].items() if n != "norm"])
        assert clipped.norm().item() == pytest.approx(0.5, rel=1e-5)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-12, atol=0)


def test_a_small_gradient_is_not_clipped() -> None:
    made = network("global")
    (3 * made.user(torch.tensor([1]))).sum().backward()
    assert clip_gradient_norm(made.parameters(), 100.0).item() == 3
    assert made.tables["shared"].grad.item() == pytest.approx(3)
    assert clip_gradient_norm([torch.zeros(2)], 1.0).item() == 0


def test_clamp_makes_lambda_non_negative_and_touches_only_rows_with_a_gradient() -> None:
    made = network("user+item", sparse=True)
    made.user(torch.tensor([1, 1])).sum().backward()
    with torch.no_grad():
        for table in made.tables.values():
            table.fill_(-1)
    made.clamp()
    assert made.tables["user"].flatten().tolist() == [-1, 0, -1, -1]
    dense = network("user+item")
    dense.tables["user"].data.fill_(-1)
    dense.clamp()
    assert (dense.tables["user"] == 0).all()


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match=r"granularity must be one of global, .*; got 'users'"):
        LambdaNetwork("users", N_USERS, N_ITEMS, D)
    with pytest.raises(ValueError, match=r"initial must not be negative, got -1"):
        LambdaNetwork("global", N_USERS, N_ITEMS, D, initial=-1)

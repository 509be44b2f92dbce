"""Functions that build the parts of a trainer that learns λ."""

from __future__ import annotations

from recbole.model.abstract_recommender import GeneralRecommender
from torch.nn import Embedding
from torch.optim import Optimizer

from recbole_ext.lambda_opt.gradient.derivatives import gradients_of
from recbole_ext.lambda_opt.gradient.symmetric_matrix import fast_symmetric
from recbole_ext.lambda_opt.gradient.through_training import ForwardGradient
from recbole_ext.lambda_opt.lambda_network import LambdaNetwork
from recbole_ext.lambda_opt.pairwise import PairwiseModel
from recbole_ext.lambda_opt.settings import BilevelSettings


def build_network(settings: BilevelSettings, tables: dict[str, Embedding]) -> LambdaNetwork:
    """Build the network that holds a model's λ, whether λ is learnt or given.

    Args:
        settings: the run's settings.
        tables: the embeddings of each side, ``user`` and ``item``.
    """
    (n_users, size), (n_items, _) = (table.weight.shape for table in tables.values())
    network = LambdaNetwork(
        settings.lambda_granularity,
        n_users,
        n_items,
        size,
        initial=settings.lambda_initial if settings.learns_lambda else settings.reg_weight,
        sparse=settings.sparse_lambda,
        scaled=settings.scales_lambda,
    )
    return network.requires_grad_(settings.learns_lambda)


def build_forward_gradient(
    model: GeneralRecommender,
    optimizer: Optimizer,
    network: LambdaNetwork,
    tables: dict[str, Embedding],
    stride: int,
) -> ForwardGradient:
    """Build the gradient of λ through the whole training.

    Args:
        model: the model that holds the tables.
        optimizer: the model's optimiser.
        network: the network that holds λ.
        tables: the embeddings of each side, ``user`` and ``item``.
        stride: number of training steps that one step of the tangents represents.
    """
    pairwise = PairwiseModel(model)
    sides = {side: pairwise.name_of(table.weight) for side, table in tables.items()}
    return ForwardGradient(gradients_of(pairwise), optimizer, sides, network, stride)


def make_graphs_fast(model: GeneralRecommender) -> None:
    """Replace the symmetric sparse matrices in a model's attributes by faster ones."""
    for name, value in list(vars(model).items()):
        if (fast := fast_symmetric(value)) is not value:
            setattr(model, name, fast)

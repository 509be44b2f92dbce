"""Functions that build the parts of a trainer that learns λ."""

from __future__ import annotations

import math

import torch
from recbole.config import Config
from recbole.model.abstract_recommender import GeneralRecommender
from torch import Tensor
from torch.optim import Optimizer

from recbole_ext.lambda_opt.gradient.owners import WHOLE, Owners, owners_of
from recbole_ext.lambda_opt.gradient.symmetric_matrix import fast_symmetric
from recbole_ext.lambda_opt.gradient.through_training import ForwardGradient
from recbole_ext.lambda_opt.lambda_network import LambdaNetwork, PowerLaw, Strengths
from recbole_ext.lambda_opt.lambda_network.frequency import frequency_scale
from recbole_ext.lambda_opt.lambdaoptmf import LambdaOptMF
from recbole_ext.lambda_opt.objective import Objective
from recbole_ext.lambda_opt.pairwise_objective import PairwiseObjective
from recbole_ext.lambda_opt.settings import BilevelSettings
from recbole_ext.lambda_opt.softmax_objective import SoftmaxObjective

SIDES = ("user", "item")
# By how much an embedding may change when λ grows e-fold. What is above comes from Adam's division
# by a root that is nearly 0.
MOST_RESPONSE = 1.0
INITIAL_SHARE = 0.3


def build_objective(
    config: Config, settings: BilevelSettings, model: GeneralRecommender, device: torch.device
) -> Objective:
    """Build a model's training loss: the softmax of a LambdaOptMF, or BPR on triples."""
    if isinstance(model, LambdaOptMF) and model.item_bias is not None:
        hit = settings.lambda_loss == "hit"
        return SoftmaxObjective(model, config["train_batch_size"], hit, device)
    return PairwiseObjective(model, device)


def build_network(settings: BilevelSettings, model: GeneralRecommender) -> Strengths:
    """Build the network that holds a model's λ, whether λ is learnt or given.

    It has the λ of the rows that this process owns.
    """
    owners, size = owners_of(model), model.user_embedding.weight.shape[1]
    n_users, n_items = (len(owner) for owner in owners)
    if settings.is_power_law:
        initial = settings.lambda_initial or 1.0  # tell_counts replaces the 1
        learns = settings.learns_lambda
        law = PowerLaw(
            n_users,
            n_items,
            (initial, initial) if learns else settings.given_strengths,
            (settings.frequency_exponent,) * 2 if learns else settings.given_exponents,
        )
        law.row_owners = dict(zip((f"{side}_frequency" for side in SIDES), owners, strict=True))
        return law.requires_grad_(learns)
    network = LambdaNetwork(
        settings.lambda_granularity,
        n_users,
        n_items,
        size,
        initial=(settings.lambda_initial or 0.0) if settings.learns_lambda else settings.reg_weight,
        sparse=settings.sparse_lambda,
        scaled=settings.scales_lambda,
    )
    for side, owner in zip(SIDES, owners, strict=True):
        if settings.scales_lambda:
            network.row_owners[f"{side}_scale"] = owner
        if network.varies_by_row(side):
            network.row_owners[f"tables.{side}"] = owner
    return network.requires_grad_(settings.learns_lambda)


def tell_counts(
    network: Strengths,
    settings: BilevelSettings,
    counts: tuple[Tensor, Tensor],
    owners: Owners = WHOLE,
) -> None:
    """Tell a network how often each user and each item occurs in the training ratings.

    A λ that is learnt then begins at a strength that fits the data, unless one is given.

    Args:
        network: the network that holds λ.
        settings: the run's settings.
        counts: of the users, shape: [n_users], and of the items, shape: [n_items].
        owners: the owners of the rows whose λ the network has.
    """
    for side, of_side, owner in zip(SIDES, counts, owners, strict=True):
        if isinstance(network, PowerLaw):
            network.tell_counts(side, of_side, owner.own)
        elif settings.scales_lambda:
            factors = frequency_scale(of_side, settings.frequency_exponent)
            network.scale(side, factors[owner.own])
    if isinstance(network, PowerLaw) and settings.learns_lambda and not settings.lambda_initial:
        network.begin(initial_strength(counts))


def initial_strength(counts: tuple[Tensor, Tensor]) -> float:
    """A λ to begin with: ``0.3 (√n_u + √n_i)`` with the mean numbers of ratings a row.

    Without a user's and an item's own taste the matrix of ratings is noise, whose largest singular
    value is about ``√n_u + √n_i``. The penalty removes singular values below ``2 √(λ_u λ_i)``; the
    best λ found on ml-100k and ml-1m remove those up to 0.6 of that edge.

    Args:
        counts: training ratings of each user and each item, with the padding rows.
    """
    return INITIAL_SHARE * sum(float(of_side[1:].double().mean()) ** 0.5 for of_side in counts)


def build_forward_gradient(
    objective: Objective,
    optimizer: Optimizer,
    network: Strengths,
    settings: BilevelSettings,
) -> ForwardGradient:
    """Build the gradient of λ through the whole training.

    Args:
        objective: the training loss.
        optimizer: the model's optimiser.
        network: the network that holds λ.
        settings: the run's settings.
    """
    return ForwardGradient(
        objective.gradients(),
        optimizer,
        objective.sides(),
        network,
        settings.lambda_update_interval,
        limit=MOST_RESPONSE if settings.lambda_horizon else math.inf,
        calibrated=settings.lambda_loss != "plain",
    )


def make_graphs_fast(model: GeneralRecommender) -> None:
    """Replace the symmetric sparse matrices in a model's attributes by faster ones."""
    for name, value in list(vars(model).items()):
        if (fast := fast_symmetric(value)) is not value:
            setattr(model, name, fast)

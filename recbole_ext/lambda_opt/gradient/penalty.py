"""The L2 penalty with a strength for each row and dimension, and each row's share in it."""

from __future__ import annotations

import torch
from torch import Tensor

LOOKAHEAD_PENALTIES = ("batch", "table", "expected")


def l2_penalty(rows: Tensor, strength: Tensor, batch_size: int) -> Tensor:
    """The penalty ``(1/B) Σ λ ⊙ θ²`` over the rows that a batch reads.

    Args:
        rows: embeddings, one per occurrence in the batch, shape: [occurrences, embedding_size]
        strength: λ of the same rows, shape: broadcastable to [occurrences, embedding_size]
        batch_size: number of triples in the batch, ``B``.

    Returns:
        The penalty, shape: []

    Reference:
        Chen et al. "λOpt: Learn to Regularize Recommender Models in Finer Levels." KDD 2019.
    """
    return (strength * rows.square()).sum() / batch_size


def batch_shares(ids: Tensor, n_rows: int, batch_size: int) -> Tensor:
    """Each row's occurrences divided by the batch size: the row's factor in :func:`l2_penalty`.

    Args:
        ids: row of each occurrence, shape: [occurrences]
        n_rows: number of rows in the result.
        batch_size: number of triples in the batch.

    Returns:
        Shares, shape: [n_rows]
    """
    return torch.bincount(ids, minlength=n_rows).double() / batch_size


def expected_shares(
    users: Tensor, items: Tensor, n_users: int, negative_weight: Tensor, owned: Tensor
) -> tuple[Tensor, Tensor]:
    """The expectation of :func:`batch_shares` over random batches.

    Ratings are drawn uniformly. A user's negative is drawn by weight among the items that the user
    does not own.

    Args:
        users: user of each training interaction, shape: [n_interactions]
        items: item of each training interaction, shape: [n_interactions]
        n_users: number of users, with RecBole's padding row 0.
        negative_weight: unnormalised probability of each item as a negative; 0 for RecBole's
            padding item 0, shape: [n_items]
        owned: pairs of a user and an item that is never drawn for this user, each pair once,
            shape: [2, pairs]

    Returns:
        Shares of the users, shape: [n_users], and of the items, shape: [n_items].
    """
    total, n_items = len(users), len(negative_weight)
    user_share = torch.bincount(users, minlength=n_users).double() / total
    item_share = torch.bincount(items, minlength=n_items).double() / total
    weight = negative_weight.double()
    own_weight = torch.bincount(owned[0], weights=weight[owned[1]], minlength=n_users)
    # P(negative = i) = w_i · Σ_u share_u / (candidates' weight), over users who do not own i
    per_weight = user_share / (weight.sum() - own_weight).clamp(min=torch.finfo(torch.double).tiny)
    of_owners = torch.bincount(owned[1], weights=per_weight[owned[0]], minlength=n_items)
    return user_share, item_share + weight * (per_weight.sum() - of_owners).clamp(min=0)

"""The L2 penalty with a strength for each row and dimension, and how much of it a row carries."""

from __future__ import annotations

import torch
from torch import Tensor

from recbole_ext.functional.bpr import Triples

LOOKAHEAD_PENALTIES = ("batch", "table", "expected")


def l2_penalty(rows: Tensor, strength: Tensor) -> Tensor:
    """``(1/B) Σ λ ⊙ θ²`` over the rows of a batch.

    Args:
        rows: embeddings, one per occurrence in the batch, shape: [batch_size, embedding_size]
        strength: λ of the same rows, shape: broadcastable to [batch_size, embedding_size]

    Returns:
        The penalty, shape: []

    Reference:
        Chen et al. "λOpt: Learn to Regularize Recommender Models in Finer Levels." KDD 2019, Eq. 3.
    """
    return (strength * rows.square()).sum() / len(rows)


def batch_shares(ids: Tensor, n_rows: int, batch_size: int) -> Tensor:
    """How often each row occurs in a batch, per triple: the row's factor in :func:`l2_penalty`.

    Args:
        ids: row of each occurrence, shape: [occurrences]
        n_rows: number of rows counted.
        batch_size: number of triples in the batch.

    Returns:
        Shares, shape: [n_rows]
    """
    return torch.bincount(ids, minlength=n_rows).double() / batch_size


def expected_shares(
    users: Tensor, items: Tensor, n_users: int, n_items: int
) -> tuple[Tensor, Tensor]:
    """Expectation of :func:`batch_shares` over batches of uniformly drawn ratings and negatives.

    A user's negative is uniform over the real items that are not among the user's own.

    Args:
        users: user of each training interaction, shape: [n_interactions]
        items: item of each training interaction, shape: [n_interactions]
        n_users: number of users, with RecBole's padding row 0.
        n_items: number of items, with RecBole's padding row 0.

    Returns:
        Shares of the users, shape: [n_users], and of the items, shape: [n_items].
    """
    total = len(users)
    user_share = torch.bincount(users, minlength=n_users).double() / total
    pairs = torch.unique(torch.stack([users, items]), dim=1)  # [2, distinct interactions]
    seen = torch.bincount(pairs[0], minlength=n_users)
    per_candidate = user_share / (n_items - 1 - seen).clamp(min=1)  # [n_users]
    negative = per_candidate.sum() - torch.bincount(
        pairs[1], weights=per_candidate[pairs[0]], minlength=n_items
    )
    negative[0] = 0.0  # the padding item is never drawn
    item_share = torch.bincount(items, minlength=n_items).double() / total + negative.clamp(min=0)
    return user_share, item_share


def occurrences(triples: Triples) -> tuple[Tensor, Tensor]:
    """User ids [batch_size] and item ids [2 · batch_size] of a batch, positives first."""
    return triples.users, torch.cat([triples.positives, triples.negatives])

"""Models that score items from the items of a user alone: they serve new users as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.model.general_recommender import ADMMSLIM, EASE, ItemKNN, Pop, SLIMElastic
from scipy.sparse import csr_matrix
from torch import Tensor

# Scores of all items, shape: [users, n_items], from 1 for each rated item, of the same shape and on
# the CPU
FoldIn: TypeAlias = Callable[[Tensor], Tensor]


def fold_in_of(model: GeneralRecommender) -> FoldIn | None:
    """How a model scores items for somebody new.

    Args:
        model: a trained model. One of your own may have a method ``fold_in``, which takes and
            returns what a ``FoldIn`` does.

    Returns:
        ``None`` for a model that knows its own users only. The function of ``Pop``, which says
        nothing of a user, gives the same score to all items.
    """
    own: FoldIn | None = getattr(model, "fold_in", None)
    if own is not None:
        return own
    known: Any = model
    if isinstance(model, Pop):
        return torch.zeros_like
    if isinstance(model, EASE | SLIMElastic):
        return lambda rows: _product(rows, known.item_similarity)
    if isinstance(model, ItemKNN) and known.method != "user":
        return lambda rows: _product(rows, known.w)
    if isinstance(model, ADMMSLIM):
        return lambda rows: _centred(rows, known)
    return None


def _product(rows: Tensor, weights: Any) -> Tensor:
    """Rows times weights of any kind that RecBole's models have."""
    found = csr_matrix(rows.numpy()) @ weights
    dense = found.toarray() if hasattr(found, "toarray") else np.asarray(found)
    return torch.as_tensor(dense, dtype=torch.get_default_dtype())


def _centred(rows: Tensor, model: Any) -> Tensor:
    """ADMM SLIM's scores, which it centres by the items' means if it was trained so."""
    if not model.center_columns:
        return _product(rows, model.item_similarity)
    means = torch.as_tensor(np.asarray(model.item_means), dtype=rows.dtype).view(1, -1)
    weights = torch.as_tensor(np.asarray(model.item_similarity), dtype=rows.dtype)
    return (rows - means) @ weights + means

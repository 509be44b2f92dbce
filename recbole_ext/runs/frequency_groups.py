"""Ranking metrics of users and of items by how often they occur in the training ratings.

A mean over all users can hide that a regularisation helps the rare ones. Users and items are
therefore sorted by their number of training ratings and cut into groups of equal size, rarest
first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.data.dataset import Dataset
from recbole.evaluator.metrics import NDCG, Recall
from recbole.trainer import Trainer
from torch import Tensor

Rows: TypeAlias = list[dict[str, Any]]


def frequency_groups(counts: Tensor, groups: int) -> Tensor:
    """Cut rows into groups of equal size by their count.

    Args:
        counts: number of training ratings of each row, with RecBole's padding row 0,
            shape: [n_rows]
        groups: number of groups.

    Returns:
        The group of each row, 0 for the rarest and −1 for the padding row, shape: [n_rows]
    """
    order = torch.argsort(counts[1:], stable=True)
    group = torch.full_like(counts, -1)
    group[order + 1] = torch.arange(len(order)) * groups // len(order)
    return group


@torch.no_grad()
def evaluate_by_frequency(
    trainer: Trainer,
    data: FullSortEvalDataLoader,
    counts: tuple[Tensor, Tensor],
    groups: int,
) -> dict[str, Rows]:
    """Rank all items for the users of a test set, and compute the metrics of each group.

    Args:
        trainer: a trainer whose ``evaluate`` has run on ``data``.
        data: RecBole's loader for full ranking.
        counts: number of training ratings of each user, shape: [n_users], and of each item,
            shape: [n_items].
        groups: number of groups.

    Returns:
        A row for each group. Under ``"user"`` a row has Recall and NDCG at each ``topk``, averaged
        over the group's users with test ratings. Under ``"item"`` it has the share of the group's
        test ratings that are among the user's first ``topk``. Each row also has the group's range
        of training ratings.
    """
    cutoffs = trainer.config["topk"]
    of_user, of_item = (frequency_groups(c, groups) for c in counts)
    users, hits, positives, found = _rank(trainer, data, max(cutoffs))
    lengths = positives.bincount(minlength=len(users))
    recall, ndcg = (
        metric(trainer.config).metric_info(hits.numpy(), lengths.numpy())
        for metric in (Recall, NDCG)
    )
    rows: dict[str, Rows] = {"user": [], "item": []}
    rank, group_of_rating = found
    for group in range(groups):
        mine = (of_user[users] == group).numpy()
        row = {**_span(counts[0], of_user == group), "users": int(mine.sum())}
        for k in cutoffs:
            row[f"recall@{k}"] = float(recall[mine, k - 1].mean()) if mine.any() else np.nan
            row[f"ndcg@{k}"] = float(ndcg[mine, k - 1].mean()) if mine.any() else np.nan
        rows["user"].append(row)
        theirs = rank[of_item[group_of_rating] == group]
        row = {**_span(counts[1], of_item == group), "test ratings": len(theirs)}
        for k in cutoffs:
            row[f"recall@{k}"] = float((theirs < k).double().mean()) if len(theirs) else np.nan
        rows["item"].append(row)
    return rows


def reporting_groups(evaluate: Callable) -> Callable:
    """Wrap ``Trainer.evaluate``: if ``frequency_groups`` is set, report a test by group too."""

    def evaluate_and_report(trainer: Trainer, data: Any, *args: Any, **kwargs: Any) -> Any:
        result = evaluate(trainer, data, *args, **kwargs)
        groups = trainer.config["frequency_groups"]
        state = trainer.run_state
        counts, tested = state.training_counts, result is not None and not state.validating
        if groups and counts and tested:
            if isinstance(data, FullSortEvalDataLoader):
                state.frequency_groups = evaluate_by_frequency(trainer, data, counts, groups)
            else:
                trainer.logger.warning("frequency_groups needs eval_args.mode: full; left out")
        return result

    return evaluate_and_report


def counting_ratings(fit: Callable) -> Callable:
    """Wrap ``Trainer.fit``: store how often each user and item is in the training ratings."""

    def fit_and_count(trainer: Trainer, train_data: Any, *args: Any, **kwargs: Any) -> Any:
        state = trainer.run_state
        if trainer.config["frequency_groups"] and state.training_counts is None:
            state.training_counts = rating_counts(train_data._dataset)
        return fit(trainer, train_data, *args, **kwargs)

    return fit_and_count


def rating_counts(dataset: Dataset) -> tuple[Tensor, Tensor]:
    """Number of training ratings of each user, shape: [n_users], and item, shape: [n_items].

    Args:
        dataset: the training part. For cold-start tasks it also holds support sets, which are not
            counted.
    """
    users, items = (dataset.inter_feat[field] for field in (dataset.uid_field, dataset.iid_field))
    if hasattr(dataset, "split"):
        users, items, _ = dataset.split.training_ratings
    return (
        users.bincount(minlength=dataset.user_num),
        items.bincount(minlength=dataset.item_num),
    )


def _span(counts: Tensor, mine: Tensor) -> dict[str, str]:
    chosen = counts[mine]
    return {"training ratings": f"{chosen.min()}–{chosen.max()}" if len(chosen) else "none"}


def _rank(
    trainer: Trainer, data: FullSortEvalDataLoader, cutoff: int
) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, Tensor]]:
    """Rank all items for each user of a test set.

    Returns:
        The users, shape: [users]; whether each place of a user's list is a hit, shape:
        [users, cutoff]; and, of each positive, the index of its user, and its rank and item. A
        positive outside the list has the rank ``cutoff``.
    """
    users, hits, slots, ranks, items = [], [], [], [], []
    trainer.model.eval()
    done = 0
    for batch in data:
        interaction, scores, slot, item = trainer._full_sort_batch_eval(batch)
        top = scores.topk(cutoff, dim=-1).indices.cpu()
        slot, item = slot.cpu(), item.cpu()
        where = top[slot] == item.unsqueeze(-1)  # [positives, cutoff]
        hit = torch.zeros(len(top), cutoff, dtype=torch.bool)
        hit.index_put_((slot,), where, accumulate=True)
        users.append(interaction[data.uid_field].cpu())
        hits.append(hit)
        slots.append(slot + done)
        ranks.append(torch.where(where.any(-1), where.int().argmax(-1), cutoff))
        items.append(item)
        done += len(top)
    return torch.cat(users), torch.cat(hits), torch.cat(slots), (torch.cat(ranks), torch.cat(items))

"""Ranking metrics of users and of items by how often they occur in the training ratings.

A regularisation that helps rare users can hide behind busy ones in a mean over all. Users and items
are put in order of their training ratings and cut into groups of equal size, rarest first.
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

from recbole_ext.recording import note_frequency_groups

Rows: TypeAlias = list[dict[str, Any]]


def frequency_groups(counts: Tensor, groups: int) -> Tensor:
    """Cut rows into groups of equal size by their count.

    Args:
        counts: training ratings of each row, with RecBole's padding row 0, shape: [n_rows]
        groups: number of groups.

    Returns:
        The group of each row, 0 for the rarest; the padding row's is −1, shape: [n_rows]
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
    """Rank all items for the users of a test set, and report each group.

    Args:
        trainer: its ``evaluate`` has run on ``data``.
        data: RecBole's loader for full ranking.
        counts: training ratings of users, shape: [n_users], and of items, shape: [n_items].
        groups: number of groups.

    Returns:
        For ``"user"``: Recall and NDCG at each ``topk``, means over the group's users that have
        test ratings. For ``"item"``: the share of the group's test ratings that are among the
        user's first ``topk``. Each row also tells the range of training ratings.
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
    """Wrap ``Trainer.evaluate``: where ``frequency_groups`` is set, report a test by group too."""

    def evaluate_and_report(trainer: Trainer, data: Any, *args: Any, **kwargs: Any) -> Any:
        result = evaluate(trainer, data, *args, **kwargs)
        groups = trainer.config["frequency_groups"]
        counts = getattr(trainer, "training_counts", None)
        tested = result is not None and not getattr(trainer, "validating", False)
        if groups and counts and tested:
            if isinstance(data, FullSortEvalDataLoader):
                note_frequency_groups(evaluate_by_frequency(trainer, data, counts, groups))
            else:
                trainer.logger.warning("frequency_groups needs eval_args.mode: full; left out")
        return result

    return evaluate_and_report


def counting_ratings(fit: Callable) -> Callable:
    """Wrap ``Trainer.fit``: remember how often each user and item is in the training ratings."""

    def fit_and_count(trainer: Trainer, train_data: Any, *args: Any, **kwargs: Any) -> Any:
        if trainer.config["frequency_groups"] and not hasattr(trainer, "training_counts"):
            trainer.training_counts = rating_counts(train_data._dataset)
        return fit(trainer, train_data, *args, **kwargs)

    return fit_and_count


def rating_counts(dataset: Dataset) -> tuple[Tensor, Tensor]:
    """Training ratings of each user, shape: [n_users], and of each item, shape: [n_items].

    Args:
        dataset: the training part; of cold-start tasks it holds support sets as well, which are
            not counted.
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
    """Users, hits in each user's list, user slot of each positive; rank and item of each positive.

    A positive outside the list has the rank ``cutoff``.
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

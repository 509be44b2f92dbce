"""The histories of sequential models, filled many rows at a time: RecBole fills them one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction
from torch import Tensor

ROWS_AT_A_TIME = 1 << 16


def augmenting(augment: Callable) -> Callable:
    """Wrap ``SequentialDataset.data_augmentation``: each rating but a user's first is a target.

    Its history are the user's ratings before it, at most ``MAX_ITEM_LIST_LENGTH``, oldest first.
    Histories of sequences and of numerical features are left to RecBole.
    """

    def augment_at_once(dataset: Any) -> None:
        if any(values.ndim > 1 for values in dataset.inter_feat.interaction.values()):
            augment(dataset)
            return
        dataset.logger.debug("data_augmentation")
        dataset._aug_presets()
        dataset._check_field("uid_field", "time_field")
        dataset.sort(by=[dataset.uid_field, dataset.time_field], ascending=True)
        users = dataset.inter_feat[dataset.uid_field].numpy()
        rows = np.arange(len(users))
        first = np.append(True, users[1:] != users[:-1])[: len(users)]
        begun = np.maximum.accumulate(np.where(first, rows, 0))  # where each row's user begins
        targets = rows[~first]
        starts = np.maximum(begun[targets], targets - dataset.config["MAX_ITEM_LIST_LENGTH"])
        lengths = torch.from_numpy(targets - starts)
        found = {dataset.item_list_length_field: lengths}
        for field, values in dataset.inter_feat.interaction.items():
            if field != dataset.uid_field:
                name = getattr(dataset, f"{field}_list_field")
                longest = dataset.field2seqlen[name]
                found[name] = _histories(values, torch.from_numpy(starts), lengths, longest)
        ratings = dataset.inter_feat[targets]
        ratings.update(Interaction(found))
        dataset.inter_feat = ratings

    return augment_at_once


def _histories(values: Tensor, starts: Tensor, lengths: Tensor, longest: int) -> Tensor:
    """The values before each target, then zeros, shape: [targets, longest]."""
    found = torch.zeros((len(starts), longest), dtype=values.dtype)
    steps = torch.arange(longest)
    for at in range(0, len(starts), ROWS_AT_A_TIME):
        some = slice(at, at + ROWS_AT_A_TIME)
        there = steps < lengths[some, None]  # [rows, longest]
        found[some][there] = values[(starts[some, None] + steps)[there]]
    return found

"""The attention of users on the slots of MAMO's memories, and the use of each slot."""

from __future__ import annotations

from typing import Any

import torch
from recbole.data.dataset import Dataset
from recbole.utils import FeatureType
from torch import Tensor

from recbole_ext.meta.mamo import MAMO


@torch.no_grad()
def attention_of_users(model: MAMO) -> Tensor:
    """Attention of all users but RecBole's padding user, shape: [n_users - 1, slots]."""
    users = torch.arange(1, model.n_users, device=model.device)
    return torch.cat([model.attend(some) for some in users.split(4096)]).cpu()


def attention_by_group(model: MAMO, dataset: Dataset, field: str) -> list[dict[str, Any]]:
    """The mean attention of users with the same value of a field.

    Args:
        model: a trained model.
        dataset: a part of its ``ColdStartDataset``.
        field: a token column of the ``.user`` file.

    Returns:
        For each value of the field, in the order of its first letters or numbers, ``group``,
        ``users`` (their number) and ``attention``, a list with the mean of each slot.

    Raises:
        ValueError: if the field is none of those.
    """
    if dataset.field2type.get(field) != FeatureType.TOKEN or field not in dataset.user_feat:
        tokens = [f for f in dataset.user_feat if dataset.field2type[f] == FeatureType.TOKEN]
        raise ValueError(f"field must be one of {', '.join(tokens)}; got {field!r}")
    attention, value = attention_of_users(model), dataset.get_user_feature()[field][1:]
    rows = [
        {
            "group": str(dataset.id2token(field, code)),
            "users": int((value == code).sum()),
            "attention": attention[value == code].mean(0).tolist(),
        }
        for code in value.unique().tolist()
    ]
    return sorted(rows, key=lambda row: _number_first(row["group"]))


def slot_use(model: MAMO) -> list[dict[str, float]]:
    """The attention on each slot, and the norm of what it holds.

    Args:
        model: a trained model.

    Returns:
        For each slot the mean ``attention`` over users and its standard deviation ``spread``, the
        share of users whose ``most`` attention it has, and the norms of its ``profile``,
        ``gradient`` and ``preference``, of the memories that there are. A slot is dead if no user
        attends to it.
    """
    attention = attention_of_users(model)
    most = attention.argmax(-1)
    held: dict[str, Tensor] = {}
    if model.feature_memory is not None:
        held["profile"] = model.feature_memory.profiles
        held["gradient"] = model.feature_memory.gradients
    if model.task_memory is not None:
        held["preference"] = model.task_memory.preferences
    return [
        {
            "attention": attention[:, slot].mean().item(),
            "spread": attention[:, slot].std(correction=0).item(),
            "most": (most == slot).double().mean().item(),
            **{name: memory[slot].norm().item() for name, memory in held.items()},
        }
        for slot in range(attention.shape[1])
    ]


def _number_first(group: str) -> tuple[bool, float, str]:
    try:
        return False, float(group), group
    except ValueError:
        return True, 0.0, group

"""The check that all processes train the same model in the same way on the same data."""

from __future__ import annotations

import hashlib
from typing import Any

import torch

from recbole_ext.processes.group import from_each

# Settings that may differ from process to process.
OWN = {
    "checkpoint_dir", "data_path", "device", "gpu_id", "local_rank", "log_wandb", "resume_file",
    "show_progress", "state",
}  # fmt: skip


def check_settings(settings: dict[str, Any]) -> None:
    """Compare the settings of all processes.

    Raises:
        ValueError: names the first key that differs, the processes and their values.
    """
    mine = {key: repr(value) for key, value in settings.items() if key not in OWN}
    _compare(mine, "the settings of all processes must be the same")


def check_data(dataset: Any) -> None:
    """Compare the data that all processes have read.

    Args:
        dataset: a built data set of RecBole's, or a part of one.

    Raises:
        ValueError: names what differs, and the processes.
    """
    sizes = {"users": str(dataset.user_num), "items": str(dataset.item_num)}
    columns = {
        f"column {name}": _digest(values) for name, values in dataset.inter_feat.interaction.items()
    }
    mine = {**sizes, "ratings": str(len(dataset.inter_feat)), **columns}
    _compare(mine, "all processes must read the same files")


def _digest(values: torch.Tensor) -> str:
    return hashlib.sha1(values.cpu().contiguous().numpy().tobytes()).hexdigest()[:12]


def _compare(mine: dict[str, str], remedy: str) -> None:
    first, *others = from_each(mine)
    for rank, other in enumerate(others, start=1):
        for key in {**first, **other}:
            if first.get(key) != other.get(key):
                raise ValueError(
                    f"{key}: process 0 has {first.get(key)}, process {rank} has "
                    f"{other.get(key)}; {remedy}"
                )

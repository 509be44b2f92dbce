"""Files with λ after each epoch, and with the number of training ratings of each row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from recbole_ext.lambda_opt.lambda_network import Strengths
from recbole_ext.runs.atomic_file import replacing


def dump_folder(checkpoint: str | Path) -> Path:
    """The folder for the λ of a run, beside the run's checkpoint."""
    path = Path(checkpoint)
    return path.with_name(f"{path.stem}-lambda")


def write_dump(folder: Path, epoch: int, network: Strengths, counts: tuple[Tensor, Tensor]) -> None:
    """Write ``<epoch>.npz`` with the λ of each side; a resumed run replaces the file.

    The folder also gets ``ratings.npz``, with the number of training ratings of each user and item.
    """
    _save(folder / "ratings.npz", {"user": counts[0].numpy(), "item": counts[1].numpy()})
    sides = [side for side in ("user", "item") if network.regularises(side)]
    whole = {side: network.whole(side).cpu().numpy() for side in sides}
    _save(folder / f"{epoch:05d}.npz", whole)


def read_dump(folder: str | Path) -> dict[str, np.ndarray]:
    """Read λ after every epoch of a run, by side (``user``, ``item``).

    Returns:
        Strengths, shape: [epochs, 1 or n_rows, 1 or embedding_size]; row 0 is RecBole's padding.

    Raises:
        FileNotFoundError: if the folder holds no epoch.
    """
    files = sorted(Path(folder).glob("[0-9]*.npz"))
    if not files:
        raise FileNotFoundError(f"no λ in {folder}: train with lambda_dump: True")
    epochs = [_read(file) for file in files]
    return {name: np.stack([epoch[name] for epoch in epochs]) for name in epochs[0]}


def read_counts(folder: str | Path) -> dict[str, np.ndarray]:
    """Read the number of training ratings of each user and item, by side, shape: [n_rows].

    Raises:
        FileNotFoundError: if the folder holds no ``ratings.npz``.
    """
    return _read(Path(folder) / "ratings.npz")


def _read(path: Path) -> dict[str, np.ndarray]:
    with path.open("rb") as file:  # numpy does not close a damaged file
        return dict(np.load(file))


def _save(path: Path, arrays: dict[str, Any]) -> None:
    with replacing(path) as file:
        np.savez_compressed(file, **arrays)

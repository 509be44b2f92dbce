"""λ after each epoch, in numpy's files, with the training ratings of each row beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from recbole_ext.atomic_file import replacing
from recbole_ext.lambda_network import LambdaNetwork


def dump_folder(checkpoint: str | Path) -> Path:
    """Where the λ of the run with this checkpoint go: a folder beside it."""
    path = Path(checkpoint)
    return path.with_name(f"{path.stem}-lambda")


def write_dump(
    folder: Path, epoch: int, network: LambdaNetwork, counts: tuple[Tensor, Tensor]
) -> None:
    """Write ``<epoch>.npz`` with the λ of each side; a resumed run writes it again.

    Beside it stands ``ratings.npz``: the training ratings of each user and of each item.
    """
    _save(folder / "ratings.npz", {"user": counts[0].numpy(), "item": counts[1].numpy()})
    sides = [side for side in ("user", "item") if network.side_table(side) is not None]
    whole = {side: network.whole(side).cpu().numpy() for side in sides}
    _save(folder / f"{epoch:05d}.npz", whole)


def read_dump(folder: str | Path) -> dict[str, np.ndarray]:
    """All epochs of a run, by side (``user``, ``item``).

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
    """The training ratings of a run's users and items, each of shape: [n_rows].

    Raises:
        FileNotFoundError: if the folder has none.
    """
    return _read(Path(folder) / "ratings.npz")


def _read(path: Path) -> dict[str, np.ndarray]:
    with path.open("rb") as file:  # numpy leaves a damaged one open
        return dict(np.load(file))


def _save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with replacing(path) as file:
        np.savez_compressed(file, **arrays)

"""A small world of ratings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np


def write_ratings(folder: Path, rating: Callable[[int, int], float], share: float = 0.7) -> dict:
    """Ratings of 40 users and 30 items, as an atomic file; returns the settings to read it."""
    random = np.random.default_rng(0)
    at = folder / "data" / "rated"
    at.mkdir(parents=True)
    lines = ["user_id:token\titem_id:token\trating:float"]
    for user in range(40):
        for item in np.flatnonzero(random.random(30) < share):
            lines.append(f"u{user}\ti{item}\t{rating(user, int(item))}")
    (at / "rated.inter").write_text("\n".join(lines) + "\n")
    return {"dataset": "rated", "data_path": str(folder / "data"), "train_batch_size": 64}

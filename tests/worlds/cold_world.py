"""A small world with cold users and items, for the tests of meta-learners."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

COLD_USER, COLD_ITEM = 60, 30  # ids from there on are cold


def write_cold_world(
    folder: Path,
    rating: Callable[[int, int, np.random.Generator], float],
    users: int = 80,
    items: int = 45,
    share: float = 0.8,
) -> dict[str, Any]:
    """Write atomic files; content is drawn at random, so that it reveals nothing.

    Returns:
        Settings for a small model on them.
    """
    random = np.random.default_rng(0)
    at = folder / "cold"
    at.mkdir(parents=True, exist_ok=True)
    lines = ["user_id:token\titem_id:token\trating:float\tstate:token"]
    for user in range(users):
        for item in np.flatnonzero(random.random(items) < share):
            state = f"{'C' if user >= COLD_USER else 'W'}-{'C' if item >= COLD_ITEM else 'W'}"
            lines.append(f"u{user}\ti{item}\t{rating(user, item, random)}\t{state}")
    (at / "cold.inter").write_text("\n".join(lines) + "\n")
    rows = [f"u{u}\t{random.integers(3)}\t{random.random():.3f}" for u in range(users)]
    (at / "cold.user").write_text("\n".join(["user_id:token\tjob:token\tage:float", *rows]) + "\n")
    rows = [f"i{i}\t{' '.join(map(str, random.integers(4, size=2)))}" for i in range(items)]
    (at / "cold.item").write_text("\n".join(["item_id:token\tgenre:token_seq", *rows]) + "\n")
    return {
        "dataset": "cold",
        "data_path": str(folder),
        "scenario_field": "state",
        "task_ratings": [6, 60],
        "query_size": 5,
        "embedding_size": 4,
        "factor_size": 4,
        "factorized_start": 2,
        "mlp_hidden_size": [8],
    }


def opposite_tastes(user: int, item: int, random: np.random.Generator) -> float:
    """Even users love what odd users hate."""
    return 5.0 if (user + item) % 2 == 0 else 1.0


def noisy(user: int, item: int, random: np.random.Generator) -> float:
    """Ratings of 1 to 5 with some structure."""
    return float(np.clip(3 + (item % 3 - 1) + (user % 3 - 1) + random.integers(-1, 2), 1, 5))


@pytest.fixture
def cold_world(tmp_path: Path) -> dict[str, Any]:
    return write_cold_world(tmp_path / "data", noisy)

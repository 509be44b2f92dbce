"""A small search: its arguments and what it writes down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.worlds.rated_world import write_ratings

SPACE = "learning_rate choice [0.01,0.001]\nnet choice ['linear','mlp']\n"


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """ResNetMF on a small world; the working folder is the test's own."""
    world = write_ratings(tmp_path, lambda user, item: 1 + (user * 7 + item * 3) % 5)
    Path("space.test").write_text(SPACE)
    return [
        *("--model=ResNetMF", "--dataset=rated", f"--data_path={world['data_path']}"),
        *("--params_file=space.test", "--output_file=out.result"),
        *("--epochs=2", "--embedding_size=4", "--hidden_size=4", "--train_batch_size=256"),
    ]


def lines(path: str = "out.result.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()[1:]]

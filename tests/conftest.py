"""Every test runs in its own folder, with a clean command line, on one thread.

Hypothesis draws few examples; ``--hypothesis-profile=all`` draws as many as ``make test-all``.
"""

from __future__ import annotations

import itertools
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import torch
from torch.utils.tensorboard import SummaryWriter

from tests.worlds.cold_world import cold_world

__all__ = ["cold_world"]  # a fixture

RUNS = itertools.count(1)

hypothesis.settings.register_profile("few", max_examples=30)
hypothesis.settings.register_profile("all", max_examples=600)
hypothesis.settings.load_profile("few")


@pytest.fixture(scope="session", autouse=True)
def event_files() -> Iterator[list[SummaryWriter]]:
    """TensorBoard's writers that are open; each has a thread that writes two minutes later."""
    opened: list[SummaryWriter] = []

    def open_one(folder: str) -> SummaryWriter:  # the working folder may be another one by then
        opened.append(SummaryWriter(str(Path(folder).resolve())))
        return opened[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recbole.utils.utils.SummaryWriter", open_one)
        yield opened


@pytest.fixture(autouse=True)
def clean_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, event_files: list[SummaryWriter]
) -> Iterator[None]:
    """RecBole writes into the working folder, reads the command line, leaves what it opened."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["test"])
    # RecBole measures the processor for a second at the end of each run, to print its load. Without
    # that second two runs would begin in the same one, by which RecBole names their checkpoints.
    monkeypatch.setattr("psutil.cpu_percent", lambda interval=None: 0.0)
    monkeypatch.setattr("recbole.trainer.trainer.get_local_time", lambda: f"{next(RUNS)}")
    torch.set_num_threads(1)
    torch.autograd.set_detect_anomaly(False)  # RecBole's SINE turns it on when it is imported
    before, level = logging.root.handlers[:], logging.root.level
    yield
    logging.root.setLevel(level)
    for handler in [h for h in logging.root.handlers if h not in before]:
        logging.root.removeHandler(handler)
        handler.close()
    while event_files:
        event_files.pop().close()


@pytest.fixture
def write_dataset(tmp_path: Path) -> Callable[..., str]:
    """Write interactions as an atomic file; returns the ``data_path`` to give to RecBole."""

    def write(
        pairs: list[tuple[object, object]], name: str = "world", header: str | None = None
    ) -> str:
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True, exist_ok=True)
        lines = [header or "user_id:token\titem_id:token", *(f"{u}\t{i}" for u, i in pairs)]
        (folder / f"{name}.inter").write_text("\n".join(lines) + "\n")
        return str(tmp_path / "data")

    return write


@pytest.fixture
def world(write_dataset: Callable[..., str]) -> dict[str, Any]:
    """Settings of a small model on two tastes: even users like even items, odd users odd ones."""
    pairs = [(u, i) for u in range(20) for i in range(16) if u % 2 == i % 2]
    data = {"dataset": "world", "data_path": write_dataset(pairs), "load_col": {"inter": "*"}}
    size = {"embedding_size": 8, "train_batch_size": 32}
    return {**data, **size, "learning_rate": 0.01, "stopping_step": 100}

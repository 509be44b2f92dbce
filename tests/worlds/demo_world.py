"""Small trained models with hostile titles, and the page's real server, for its tests."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.worlds.cold_world import noisy, write_cold_world
from tests.worlds.helpers import Run, small_world
from tests.worlds.places import ROOT

HOSTILE = [
    "<script>document.title='run'</script>",
    "<img src=x onerror=\"document.title='run'\">",
    "{{ 7*7 }}",
    "</li><b>&lt;\"'",
]
JOBS = ["<script>document.title='run'</script>", "<'\">", "cook"]


def title_of(item: int) -> str:
    return f"{HOSTILE[item % len(HOSTILE)]} {item}"


@contextmanager
def quiet_process(folder: Path) -> Iterator[None]:
    """RecBole writes into the working folder and reads the command line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["test"])
        torch.set_num_threads(1)
        yield


def rating_run(folder: Path) -> Run:
    """MeLU as published, which looks at users' content."""
    settings = write_cold_world(folder, noisy)
    users, items = folder / "cold/cold.user", folder / "cold/cold.item"
    rows = [line.split("\t") for line in users.read_text().splitlines()]
    lines = ["\t".join([user, JOBS[int(job)], age]) for user, job, age in rows[1:]]
    users.write_text("\n".join(["\t".join(rows[0]), *lines]) + "\n")
    head, *lines = items.read_text().splitlines()
    lines = [f"{line}\t{title_of(item)}" for item, line in enumerate(lines)]
    items.write_text("\n".join([f"{head}\tmovie_title:token_seq", *lines]) + "\n")
    with quiet_process(folder):
        return Run("MeLU", preset="paper", **settings, epochs=20, learning_rate=0.01).fit()


def liking_run(folder: Path) -> Run:
    """BPR on two tastes: even users like even items, odd users odd ones."""
    at = folder / "world"
    at.mkdir()
    pairs = [f"{user}\t{item}" for user, item in small_world()]
    (at / "world.inter").write_text("\n".join(["user_id:token\titem_id:token", *pairs]) + "\n")
    titles = [f"{item}\t{title_of(item)}" for item in range(16)]
    (at / "world.item").write_text("\n".join(["item_id:token\tname:token_seq", *titles]) + "\n")
    data: dict[str, Any] = {"dataset": "world", "data_path": str(folder)}
    sizes = {"embedding_size": 8, "train_batch_size": 32, "learning_rate": 0.01}
    with quiet_process(folder):
        return Run("BPR", **data, **sizes, epochs=60, stopping_step=100).fit()


class Server:
    """``python -m recbole_ext demo``; ``address`` is what it printed."""

    def __init__(self, checkpoint: Path, folder: Path, port: int = 0) -> None:
        with (folder / "server.err").open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "recbole_ext", "demo", str(checkpoint), f"--port={port}"],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # if in background
            )
        self.checkpoint, self._errors = checkpoint, folder / "server.err"
        found = re.match(r"(http://127\.0\.0\.1:(\d+)/) ", self._output.readline())
        if found is None:
            assert self.stop() == 1
            raise AssertionError(self.errors)
        self.address, self.port = found[1], int(found[2])

    @property
    def errors(self) -> str:
        return self._errors.read_text()

    def stop(self) -> int:
        """What Ctrl-C does; returns the exit status."""
        self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(timeout=20)
        finally:
            self.process.kill()
            self._output.close()

    @property
    def _output(self) -> Any:
        return self.process.stdout


@contextmanager
def serving(run: Run, folder: Path) -> Iterator[Server]:
    server = Server(folder / run.trainer.saved_model_file, folder)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()

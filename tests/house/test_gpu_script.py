"""``benchmarks/gpu.py`` runs without a GPU, tells what it skips, and fails where a check fails."""

from __future__ import annotations

import importlib
import json
import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from tests.worlds.places import ROOT


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, with one case of steps and no other work."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    parity = importlib.import_module("gpu_parity")
    linear = {"net": "linear", "embedding_size": 4, "train_batch_size": 50_000}
    monkeypatch.setattr(parity, "STEPS", {"ResNetMF": ("ResNetMF", linear)})
    monkeypatch.setattr(parity, "EPOCHS", {})
    return importlib.import_module("gpu")


def test_the_smallest_part_runs_without_a_gpu(
    gpu: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--only", "steps", "--only", "processes", "--json", str(tmp_path / "results")]
    assert gpu.main(arguments) == 0
    said = capsys.readouterr().out
    assert "no CUDA device; the CPU takes its place" in said
    assert "steps, ResNetMF: passed, 0.0e+00 of at most 1e-10" in said
    skipped = [line for line in said.splitlines() if line.startswith("skipped: ")]
    names = ("LambdaOptMF: two processes are as one", "MeLU: two processes are as one")
    expected = [f"skipped: processes, {name} (no CUDA device)" for name in names]
    assert skipped == [*expected, "skipped: the file of figures (no CUDA device)"]
    assert "1 passed, 0 failed, 2 skipped" in said
    assert not (tmp_path / "results").exists()


def test_a_broken_parity_fails(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parity = importlib.import_module("gpu_parity")
    found = iter([{"w": torch.ones(3)}, {"w": torch.tensor([1.0, 1.0, 1 + 1e-5])}] * 2)
    monkeypatch.setattr(parity, "trained", lambda *_: next(found))
    assert gpu.main(["--only", "steps", "--only", "processes"]) == 1
    said = capsys.readouterr().out
    assert "steps, ResNetMF: failed, ValueError: 1.0e-05 of at most 1e-10" in said
    assert "Traceback" in said
    assert "0 passed, 1 failed, 2 skipped" in said  # the others went on


@pytest.mark.parametrize(
    ("does", "told"),
    [
        (partial(os._exit, 3), "its process ended with status 3"),
        (partial(time.sleep, 60), "took more than 1 s"),
        (partial(int, "one"), "ValueError: invalid literal for int()"),
    ],
)
def test_a_job_that_crashes_or_hangs_is_named(
    gpu: ModuleType, tmp_path: Path, does: Any, told: str
) -> None:
    checks = importlib.import_module("gpu_checks")

    def job(place: Any) -> Iterator[tuple[str, Any]]:
        yield "first", lambda: "measured"
        yield "second", does

    rows = list(checks.run(checks.Job("part", "job", job), checks.Place((), tmp_path), 1))
    assert [(row.name, row.result) for row in rows[:1]] == [("job: first", "passed")]
    assert rows[-1].result == "failed"
    assert told in rows[-1].measured


def test_jobs_after_the_limit_are_named(
    gpu: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gpu.main(["--limit", "0"]) == 0
    said = capsys.readouterr().out
    for name in ("steps, ResNetMF", "training, MAMO", "speed, tasks", "processes, MeLU"):
        assert f"skipped: {name} (the 0 s were over)" in said


def test_a_gpu_gives_figures(
    gpu: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU by name only: its work runs on the CPU."""
    checks, speed = (importlib.import_module(name) for name in ("gpu_checks", "gpu_speed"))
    monkeypatch.setattr(checks.Place, "settings", checks.CPU)
    for name in ("init", "synchronize"):
        monkeypatch.setattr(torch.cuda, name, lambda: None)

    def found(place: Any) -> Iterator[tuple[str, Any]]:
        yield "", lambda: checks.Measured("Fake GPU", {"gpus": ["Fake GPU (1)"]})

    monkeypatch.setattr(gpu, "found_here", found)
    steps = dict(list(speed.STEPS.items())[:1])
    monkeypatch.setattr(speed, "STEPS", steps)
    monkeypatch.setattr(speed, "TASKS", [("MeLU", "default")])
    assert gpu.main(["--only", "speed", "--quick", "--json", str(tmp_path)]) == 0
    written = json.loads((tmp_path / "gpu-Fake-GPU-1.json").read_text())
    names = [f"step: {name}" for name in steps]
    names += ["tasks: MeLU default, train", "tasks: MeLU default, predict"]
    assert {name: written[name] > 0 for name in names} == dict.fromkeys(names, True)
    assert written["raw"]["gpus"] == ["Fake GPU (1)"]
    assert {row["result"] for row in written["raw"]["checks"]} == {"passed"}

"""Whole runs in several processes: results, errors, resuming, and processes that die."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

import recbole_ext
from recbole_ext.processes import joining
from recbole_ext.processes.alike import check_data, check_settings
from recbole_ext.processes.joining import Place, joined, usable_gpus
from recbole_ext.runs.checkpoint import last_file, load_checkpoint
from tests.worlds.helpers import QUICK, SHORT, Run, small_world
from tests.worlds.places import ROOT, free_port
from tests.worlds.several import together

SMALL = {**QUICK, **SHORT, "embedding_size": 4, "train_batch_size": 8, "topk": [3], "state": "INFO"}


@pytest.fixture
def world(write_dataset: Callable[..., str]) -> dict[str, Any]:
    data = write_dataset(small_world(40, 24))
    return {**SMALL, "dataset": "world", "data_path": data, "valid_metric": "NDCG@3"}


def run_by_two(model: str, settings: dict[str, Any], **more: Any) -> dict[str, Any] | None:
    given = {**settings, "checkpoint_dir": "saved"}
    return recbole_ext.run(model, None, config_dict=given, nproc=2, port=str(free_port()), **more)


class TestResults:
    def test_a_run_leaves_what_one_process_leaves(self, world: dict[str, Any]) -> None:
        alone = recbole_ext.run("LambdaOptMF", None, config_dict=dict(world))
        both = run_by_two("LambdaOptMF", world)
        assert alone
        assert both
        for key in ("best_valid_result", "test_result"):
            assert both[key] == pytest.approx(alone[key])
        assert len(both["curve"]) == len(alone["curve"])
        path = Path(both["checkpoint"])
        assert path.is_file()
        assert sorted(
            file.name for file in path.parent.iterdir() if file.stem.startswith(path.stem)
        ) == [
            f"{path.stem}-curve.csv",
            f"{path.stem}-last.pth",
            path.name,
        ]
        recbole_ext.load_data_and_model(path)

    def test_another_number_of_processes_goes_on_and_says_so(
        self, world: dict[str, Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        whole = recbole_ext.run("LambdaOptMF", None, config_dict={**world, "epochs": 4})
        half = run_by_two("LambdaOptMF", {**world, "epochs": 2})
        assert whole
        assert half
        last = last_file(half["checkpoint"])
        assert load_checkpoint(last, "cpu")["processes"] == 2
        again = {**world, "epochs": 4, "resume_file": str(last)}
        result = recbole_ext.run("LambdaOptMF", None, config_dict=again)
        assert result
        assert result["test_result"] == pytest.approx(whole["test_result"], abs=1e-3)
        assert "was trained by 2 processes, and 1 go on" in caplog.text

    @pytest.mark.slow
    def test_torchrun_starts_them_as_well(self, world: dict[str, Any]) -> None:
        ours = [f"--{key}={value}" for key, value in world.items() if key != "dataset"]
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2"]
        done = subprocess.run(
            [*torchrun, f"--master_port={free_port()}", ROOT / "run.py", "--model=LambdaOptMF",
             "--dataset=world", *(text.replace(" ", "") for text in ours)],
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout.count("LambdaOptMF on world") == 1


@pytest.mark.slow
class TestMachines:
    """Each machine starts its own part; here both are on one."""

    def test_both_give_the_result_of_one(self, world: dict[str, Any]) -> None:
        alone = recbole_ext.run("LambdaOptMF", None, config_dict=dict(world))
        assert alone
        with machine(world, 0) as first, machine(world, 1) as second:
            out, _ = first.communicate(timeout=200)
            none, _ = second.communicate(timeout=20)
        assert first.returncode == second.returncode == 0
        assert not none
        for metric, value in alone["test_result"].items():
            assert re.search(rf"^{metric} .* {value:.4f}$", out, re.M)

    def test_a_machine_that_is_lost_ends_the_other(self, world: dict[str, Any]) -> None:
        endless = {**world, "epochs": 100_000}
        with machine(endless, 0) as first, machine(endless, 1) as second:
            while not any(Path("saved").glob("*-last.pth")):
                assert first.poll() is None, first.communicate()
                time.sleep(0.1)
            lost = psutil.Process(second.pid)
            for process in (*lost.children(recursive=True), lost):
                process.kill()
            _, err = first.communicate(timeout=20)
        assert first.returncode == 1
        assert "error: another machine's process has ended: " in err


def machine(world: dict[str, Any], rank: int) -> subprocess.Popen:
    """The command of one of two machines."""
    if not Path("dataset").exists():
        Path("dataset").symlink_to(world["data_path"])
        Path("port").write_text(str(free_port()))
    ours = [f"--{key}={value}".replace(" ", "") for key, value in world.items()]
    where = ["--world_size=2", f"--port={Path('port').read_text()}", f"--group_offset={rank}"]
    return subprocess.Popen(
        [sys.executable, ROOT / "run.py", "--model=LambdaOptMF", *ours, *where],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def evaluated(model: str, settings: dict[str, Any]) -> dict[str, float]:
    run = Run(model, **settings)
    run.trainer.eval_collector.data_collect(run.data[0])
    return run.test()


MODES = {
    "full": {"metrics": ["Recall", "NDCG", "MRR", "ItemCoverage", "GiniIndex"]},
    "drawn": {"metrics": ["NDCG", "MRR"], "eval_args": {"mode": "uni5"}},
    "areas": {"metrics": ["GAUC"], "valid_metric": "GAUC"},
    "ratings": {
        "metrics": ["AUC", "LogLoss"], "valid_metric": "AUC", "eval_args": {"mode": "labeled"},
        "threshold": {"rating": 3},
    },
}  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_recboles_evaluation_counts_every_user_once(
    mode: str, write_dataset: Callable[..., str]
) -> None:
    header = "user_id:token\titem_id:token\trating:float"
    pairs = [(u, f"{i}\t{1 + int(u) * int(i) % 5}") for u, i in small_world(41, 24)]  # 41 is odd
    data = {"data_path": write_dataset(pairs, header=header), "dataset": "world"}
    columns = {"load_col": {"inter": ["user_id", "item_id", "rating"]}}
    model = "DeepFM" if mode == "ratings" else "BPR"
    given = {
        **SMALL, **data, **columns, "metric_decimal_place": 15, "eval_batch_size": 64,
        "valid_metric": "MRR@3", **MODES[mode],
    }  # fmt: skip
    alone = evaluated(model, given)
    for found in together(2, evaluated, model, given):
        assert found == alone


class TestErrors:
    def test_more_processes_than_the_machine_has(self) -> None:
        with pytest.raises(
            ValueError, match="nproc: 3 processes need 3 GPUs, and 2 of them can be"
        ):
            Place(3, 3).check(["0", "1"])
        with pytest.raises(
            ValueError, match=r"nproc: 999 processes need 999 CPUs, and there are \d"
        ):
            recbole_ext.run("BPR", "ml-100k", config_dict=dict(QUICK), nproc=999)
        assert usable_gpus("") == []
        with pytest.raises(
            ValueError, match="port must be a whole number from 1 to 65535, got 'x'"
        ):
            recbole_ext.run("BPR", "ml-100k", config_dict=dict(QUICK), nproc=2, port="x")

    def test_an_address_where_nobody_listens(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(joining, "PATIENCE", 1)
        place = Place(1, 2, "localhost", free_port(), 1)
        with (
            pytest.raises(ConnectionError, match=rf"ip: localhost, port: {place.port}: .*no first"),
            joined(place, 1),
        ):
            pass

    def test_processes_that_do_not_come(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(joining, "PATIENCE", 1)
        with (
            pytest.raises(ConnectionError, match="not all of the 2 processes came"),
            joined(Place(1, 2, "localhost", free_port()), 0),
        ):
            pass

    def test_other_settings_and_other_data_are_named(self, write_dataset: Any) -> None:
        paths = [write_dataset(small_world(20, size), f"of-{size}") for size in (16, 18)]
        found = together(2, differing, paths[0])
        for settings, data in found:
            assert settings.startswith("learning_rate: process 0 has 0.1, process 1 has 0.2; the ")
            assert data.startswith("items: process 0 has 17, process 1 has 19; all processes must")

    def test_an_error_of_the_run_is_raised_as_it_is(self, world: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r"loss|finite"):
            run_by_two("LambdaOptMF", {**world, "learning_rate": 1e30, "epochs": 50})


def differing(data_path: str) -> list[str]:
    """The errors of two processes with other settings, and with other data."""
    rank = joining.dist.get_rank()
    errors = []
    for check in (
        lambda: check_settings({"learning_rate": 0.1 * (rank + 1), "gpu_id": rank}),
        lambda: check_data(_dataset(data_path, 16 + 2 * rank)),
    ):
        try:
            check()
        except ValueError as error:
            errors.append(str(error))
    return errors


def _dataset(data_path: str, items: int) -> Any:
    return (
        Run("BPR", **{**SMALL, "dataset": f"of-{items}", "data_path": data_path}).data[0]._dataset
    )


def test_a_process_that_is_killed_is_named_within_seconds(world: dict[str, Any]) -> None:
    killed_at: list[float] = []

    def kill_second() -> None:
        while not killed_at:
            children = [
                p for p in psutil.Process().children() if "spawn_main" in " ".join(p.cmdline())
            ]
            trains = Path("saved").is_dir() and any(Path("saved").glob("*-last.pth"))
            if len(children) == 2 and trains:
                max(children, key=lambda process: process.pid).send_signal(signal.SIGKILL)
                killed_at.append(time.monotonic())
            time.sleep(0.05)

    threading.Thread(target=kill_second, daemon=True).start()
    with pytest.raises(
        ChildProcessError, match="process 1 of 2 was ended by SIGKILL, and the others"
    ):
        run_by_two("LambdaOptMF", {**world, "epochs": 100_000})
    assert time.monotonic() - killed_at[0] < 10
    assert not [p for p in psutil.Process().children() if "spawn_main" in " ".join(p.cmdline())]
    last = next(Path("saved").glob("*-last.pth"))
    assert load_checkpoint(last, "cpu")["processes"] == 2

"""Searches on Ray: on this machine, killed and resumed, and on a cluster that loses a node."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.worlds.places import ROOT, free_port
from tests.worlds.ray_nodes import RAY, Node, kill, nodes_at
from tests.worlds.searches import arguments, lines

__all__ = ["arguments"]


def command(arguments: list[str], *more: str) -> list[str]:
    return [sys.executable, str(ROOT / "run_hyper.py"), *arguments, "--tool=Ray", *more]


@pytest.mark.slow
def test_ray_stops_trials_and_a_killed_search_ends_with_the_same_trials(
    arguments: list[str],
) -> None:
    # Two that learn run side by side; for those that come after them the steps are too long.
    Path("space.test").write_text("learning_rate choice [0.01,0.009,0.7,0.6,0.5,0.4]\n")
    arguments = [argument for argument in arguments if not argument.startswith("--epochs")]
    more = ("--epochs=12", "--grace_period=2", "--net=mlp", "--max_concurrent=2")
    finished = subprocess.run(command(arguments, *more), env=RAY, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    wanted = lines()
    assert len(wanted) == 6
    stopped = [trial for trial in wanted if trial["status"] == "stopped"]
    assert stopped
    assert f"{len(stopped)} stopped" in finished.stdout
    assert all(trial["epochs"] < 12 for trial in stopped)

    again = [argument.replace("out.result", "again.result") for argument in arguments]
    process = subprocess.Popen(command(again, *more), env=RAY, stdout=subprocess.DEVNULL)
    while not Path("again.result.jsonl").exists() or len(lines("again.result.jsonl")) < 2:
        assert process.poll() is None
        time.sleep(0.1)
    kill(process)
    kept = lines("again.result.jsonl")
    assert 2 <= len(kept) < 6
    finished = subprocess.run(command(again, *more, "--resume"), env=RAY, capture_output=True)
    assert finished.returncode == 0, finished.stderr
    found = lines("again.result.jsonl")
    assert found[: len(kept)] == kept
    rates = [trial["settings"]["learning_rate"] for trial in found]
    assert sorted(rates) == sorted(trial["settings"]["learning_rate"] for trial in wanted)


@pytest.mark.slow
def test_a_cluster_that_loses_a_node_loses_no_finished_trial(arguments: list[str]) -> None:
    Path("space.test").write_text("learning_rate choice [0.03,0.02,0.01,0.005,0.003,0.002]\n")
    address = f"127.0.0.1:{free_port()}"
    # The command joins the node of its own address: the other, which is lost, needs another.
    head = Node("--head", f"--port={address.split(':')[1]}", "--include-dashboard=false")
    try:
        nodes_at(address, 1)
        other = Node(f"--address={address}", "--node-ip-address=127.0.0.2")
        nodes_at(address, 2)
        more = (f"--ray_address={address}", "--grace_period=50", "--net=mlp")
        process = subprocess.Popen(
            command(arguments, *more),
            env=RAY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        while not Path("out.result.jsonl").exists() or not lines():
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.1)
        kept = lines()
        kill(other.process)
        printed = process.communicate(timeout=300)[0]
    finally:
        kill(head.process)
    assert process.returncode == 0, printed
    trials = lines()
    assert trials[: len(kept)] == kept
    assert {trial["status"] for trial in trials} == {"done"}
    rates = sorted(trial["settings"]["learning_rate"] for trial in trials)
    assert rates == [0.002, 0.003, 0.005, 0.01, 0.02, 0.03]

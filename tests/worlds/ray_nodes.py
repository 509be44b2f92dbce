"""Nodes of a Ray cluster on this machine, each in processes of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

RAY = {**os.environ, "RAY_worker_niceness": "0", "PYTHONWARNINGS": "ignore"}
WITH_TOKEN = {**RAY, "RAY_AUTH_MODE": "token"}  # today's Ray asks for what --head has made


def kill(root: subprocess.Popen) -> None:
    """SIGKILL to a process, and to what it has started: Ray's would stay for others to find."""
    if root.poll() is not None:
        return
    process = psutil.Process(root.pid)
    for each in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    root.wait()


class Node:
    """A Ray node in processes of its own."""

    def __init__(self, *arguments: str, cpus: int = 1) -> None:
        ray = str(Path(sys.executable).with_name("ray"))
        self.process = subprocess.Popen(
            [ray, "start", "--block", f"--num-cpus={cpus}", *arguments],
            env=RAY if "--head" in arguments else WITH_TOKEN,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def nodes_at(address: str, count: int) -> None:
    """Wait until a cluster has so many nodes."""
    program = (
        f"import ray; ray.init({address!r}, logging_level='ERROR'); "
        "print(sum(node['Alive'] for node in ray.nodes()))"
    )
    for _ in range(30):
        asked = [sys.executable, "-W", "ignore", "-c", program]
        found = subprocess.run(asked, capture_output=True, text=True, env=WITH_TOKEN)
        if found.stdout.strip() == str(count):
            return
        time.sleep(1)
    raise AssertionError(f"no {count} nodes at {address}: {found.stdout}{found.stderr}")

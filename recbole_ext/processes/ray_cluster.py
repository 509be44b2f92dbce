"""Connecting to a Ray cluster, with Ray 2.6, which RecBole 1.2.1 pins, and with today's Ray."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Collection
from pathlib import Path
from typing import Any

import psutil

SECONDS_TO_CONNECT = 5.0
TOKEN = Path(".ray") / "auth_token"  # in the user's home
LOCAL = "local"  # the address of a cluster that is this machine, for the time of one program
PACKAGE_ROOT = str(Path(__file__).resolve().parents[2])


def present_token() -> None:
    """Present the token that today's clusters ask for, if this machine has one.

    ``ray start --head`` makes it. Ray must be told before it is imported. If the user has set
    ``RAY_AUTH_MODE``, it stays as it is.
    """
    if (Path.home() / TOKEN).is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def check_reachable(address: str, words: Collection[str] = ()) -> None:
    """Check that a cluster answers at an address.

    Args:
        address: ``host:port``, or one of the words.
        words: what may stand in place of an address.

    Raises:
        ValueError: if the address is neither.
        ConnectionError: if nothing answers within a few seconds.
    """
    if address in words:
        _check_runs_here(address)
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        raise ValueError(f"ray_address must be {', '.join([*words, 'host:port'])}, got {address!r}")
    try:
        socket.create_connection((host, int(port)), timeout=SECONDS_TO_CONNECT).close()
    except (OSError, OverflowError) as error:
        raise ConnectionError(
            f"ray_address: no Ray cluster answers at {address} ({error}); start one with "
            "`ray start --head`"
        ) from None


def _check_runs_here(address: str) -> None:
    """Check that ``auto`` has a cluster to find: Ray would look minutes for one that has ended."""
    if address != "auto" or os.environ.get("RAY_ADDRESS"):
        return
    if not any(process.info["name"] == "raylet" for process in psutil.process_iter(["name"])):
        raise ConnectionError(
            "ray_address: auto finds no Ray cluster on this machine; start one with `ray start "
            "--head`, join one with `ray start --address=…`, or give local"
        )


def connect(address: str, tell: bool = False) -> None:
    """Join the cluster at an address, or start one on this machine.

    Args:
        address: an address of Ray's, or ``local``.
        tell: whether the lines that workers write are shown here.
    """
    import ray

    paths = [PACKAGE_ROOT, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {"env_vars": {"PYTHONPATH": os.pathsep.join(paths), "PYTHONWARNINGS": "ignore"}}
    local: dict[str, Any] = {"include_dashboard": False} if address == LOCAL else {}
    ray.init(
        address=address,
        runtime_env=environment,
        log_to_driver=tell,
        logging_level=logging.ERROR,
        **local,
    )


def most_of(resource: str) -> tuple[float, float]:
    """How much the living machines of the cluster have of a resource: in all, and the largest."""
    import ray

    found = [node["Resources"].get(resource, 0.0) for node in ray.nodes() if node["Alive"]]
    return sum(found), max(found, default=0.0)

"""Joining the processes that train together, wherever they were started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from recbole_ext.processes.group import working_together

# Seconds that processes wait for each other before the first step.
PATIENCE = 60


@dataclass(frozen=True)
class Place:
    """Where the processes of a training run, in RecBole's words.

    Attributes:
        nproc: processes on this machine.
        world_size: processes on all machines.
        ip: the address of the machine with the first process.
        port: a free port of that machine.
        group_offset: the rank of the first process on this machine.
    """

    nproc: int
    world_size: int
    ip: str = "localhost"
    port: int = 5678
    group_offset: int = 0

    def check(self, gpus: list[str]) -> None:
        """Refuse numbers that do not go together, and more processes than the machine has room for.

        Args:
            gpus: the ids of the GPUs that are used, one for each process; empty for the CPU.

        Raises:
            ValueError: naming the key and its value.
        """
        last = self.group_offset + self.nproc
        if not 0 < self.nproc <= last <= self.world_size:
            raise ValueError(
                f"nproc: {self.nproc} with group_offset: {self.group_offset} are the processes up "
                f"to number {last}, but world_size is {self.world_size}: it counts the processes "
                "of all machines"
            )
        if gpus and self.nproc > len(gpus):
            raise ValueError(
                f"nproc: {self.nproc} processes need {self.nproc} GPUs, and {len(gpus)} of them "
                f"can be used here (gpu_id: {','.join(gpus)!r}); lower nproc, or set gpu_id: '' "
                "to train on the CPU"
            )
        if not gpus and self.nproc > cpus():
            raise ValueError(
                f"nproc: {self.nproc} processes need {self.nproc} CPUs, and there are {cpus()}; "
                "lower nproc"
            )


def port_number(port: str | int) -> int:
    """RecBole's setting ``port``, which is text, as a number.

    Raises:
        ValueError: if it is none.
    """
    if not str(port).isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"port must be a whole number from 1 to 65535, got {port!r}")
    return int(port)


def cpus() -> int:
    """The number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usable_gpus(gpu_id: Any) -> list[str]:
    """The ids in RecBole's setting ``gpu_id`` that torch can use."""
    named = [name for name in str(gpu_id).replace(" ", "").split(",") if name]
    return named[: torch.cuda.device_count()] if torch.cuda.is_available() else []


@contextmanager
def joined(place: Place, rank: int) -> Iterator[None]:
    """Join the other processes of a place, and share the work in this block with them.

    Raises:
        ConnectionError: if the others do not come within a minute; the error names the address.
    """
    address = f"ip: {place.ip}, port: {place.port}"
    wait = timedelta(seconds=PATIENCE)
    try:
        store = dist.TCPStore(
            place.ip, place.port, place.world_size, is_master=rank == 0, timeout=wait
        )
        dist.init_process_group(_backend(), store=store, rank=rank, world_size=place.world_size)
    except (RuntimeError, ValueError) as error:  # torch's errors of the network are RuntimeErrors
        remedy = (
            f"not all of the {place.world_size} processes came, or the port is in use: start the "
            "others on their machines, each with its group_offset, or choose another port"
            if rank == 0
            else "no first process is listening there: start the one with group_offset: 0, and "
            "give the address of its machine"
        )
        reason = str(error).splitlines()[0]
        raise ConnectionError(f"{address}: within {PATIENCE} s {remedy} ({reason})") from error
    with _leaving():
        yield


@contextmanager
def joined_by_torchrun() -> Iterator[None]:
    """Join the other processes that ``torchrun`` has started."""
    dist.init_process_group(_backend())
    with _leaving():
        yield


def started_by_torchrun() -> bool:
    """Whether ``torchrun`` has started this process as one of several."""
    return "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ["WORLD_SIZE"]) > 1


def lost_connection(error: Exception) -> bool:
    """Whether an error says that another process is gone."""
    words = str(error)
    return isinstance(error, RuntimeError) and ("gloo" in words or "NCCL" in words)


@contextmanager
def _leaving() -> Iterator[None]:
    try:
        with working_together():
            yield
    finally:
        dist.destroy_process_group()


def _backend() -> str:
    return "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"

"""Sums of what the processes of one machine have, by memory that they share.

gloo sends sums through the network's loopback, which takes some milliseconds, as long as half a
training step. Here each process copies its numbers into its own place of the shared memory, waits
until all have done so, and adds up what it finds. The order of the sum is that of the ranks, so
that all processes get the same bits.
"""

from __future__ import annotations

import mmap
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
import torch.distributed as dist
from torch import Tensor

FOLDER = Path("/dev/shm")
PLACE = 1 << 21  # bytes that a process adds up at a time
LINE = 64  # bytes between two counters, which are then in lines of the cache of their own
IMPATIENT, NAP = 0.002, 5e-5  # seconds of waiting without a nap, and of a nap
LOOK = 0.5  # seconds between two looks at whether the others are alive


class SharedMemory:
    """Memory of all processes of a group, which are on one machine.

    Each process has two places, which it uses by turns: while some processes still read a sum, none
    writes into what they read.

    Args:
        memory: the shared memory.
        rank: this process's number.
        pids: the process ids of all processes.
    """

    def __init__(self, memory: mmap.mmap, rank: int, pids: list[int]) -> None:
        self._memory, self._rank, self._pids = memory, rank, pids
        counters = np.frombuffer(memory, dtype=np.int64, count=len(pids) * LINE // 8)
        self._counters = counters[:: LINE // 8]  # how many sums each process has written
        self._sums = 0

    def add_up(self, values: Tensor) -> None:
        """Replace a tensor of the CPU, with contiguous numbers, by the sum over all processes.

        Raises:
            RuntimeError: if one of the processes has ended.
        """
        flat = values.view(-1)
        for part in flat.split(PLACE // values.element_size()):
            self._sums += 1
            places = [self._place(at, part) for at in range(len(self._pids))]
            places[self._rank].copy_(part)
            self._counters[self._rank] = self._sums
            self._wait()
            torch.add(places[0], places[1], out=part)
            for place in places[2:]:
                part.add_(place)

    def _place(self, rank: int, like: Tensor) -> Tensor:
        size = len(self._pids)
        offset = size * LINE + (self._sums % 2 * size + rank) * PLACE
        return torch.frombuffer(self._memory, dtype=like.dtype, count=len(like), offset=offset)

    def _wait(self) -> None:
        begun = looked = time.perf_counter()
        while np.min(self._counters) < self._sums:
            now = time.perf_counter()
            if now - begun > IMPATIENT:
                time.sleep(NAP)
            if now - looked > LOOK:
                looked = now
                for rank, pid in enumerate(self._pids):
                    if not is_alive(pid):
                        raise RuntimeError(f"gloo: process {rank} has closed the connection")


def is_alive(pid: int) -> bool:
    """Whether a process of this machine runs; one that has ended but is still listed does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def shared_memory() -> SharedMemory | None:
    """Memory that all processes of torch's default group share; ``None`` if they cannot.

    They cannot on several machines, and on processors that may show one process's numbers to
    another in another order than they were written.
    """
    rank, size = dist.get_rank(), dist.get_world_size()
    path = _file(size * (LINE + 2 * PLACE)) if rank == 0 else None
    told: list[Any] = [path]
    dist.broadcast_object_list(told, src=0)
    memory = _mapped(told[0])
    found: list[Any] = [None] * size
    dist.all_gather_object(found, (os.getpid(), memory is not None))
    pids = [pid for pid, _ in found]
    all_of_them = all(maps for _, maps in found) and all(map(is_alive, pids))
    agreed: list[Any] = [None] * size
    dist.all_gather_object(agreed, all_of_them)
    if path is not None:
        os.unlink(path)  # the memory stays until the last process has let it go
    return SharedMemory(memory, rank, pids) if memory is not None and all(agreed) else None


def _file(size: int) -> str | None:
    """A new file that lies in memory; ``None`` where there is none, or not enough of it."""
    if platform.machine() not in ("x86_64", "AMD64") or not os.access(FOLDER, os.W_OK):
        return None
    descriptor, path = tempfile.mkstemp(prefix="recbole_ext-", dir=FOLDER)
    try:
        os.posix_fallocate(descriptor, 0, size)  # so that writing never meets a full disk
    except OSError:
        os.unlink(path)
        return None
    finally:
        os.close(descriptor)
    return path


def _mapped(path: str | None) -> mmap.mmap | None:
    """The file as memory; ``None`` where there is no such file, as on another machine."""
    if path is None:
        return None
    try:
        with open(path, "r+b") as file:
            return mmap.mmap(file.fileno(), 0)
    except OSError:
        return None

"""The processes that train together, as this process sees them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from recbole_ext.processes.shared_memory import SharedMemory, shared_memory


@dataclass
class Group:
    """The processes that train together.

    Attributes:
        rank: this process's number, from 0 on.
        size: the number of processes.
        sent: bytes that this process has handed over to the others, as one copy each.
        memory: what all of them share, if they are on one machine.
    """

    rank: int = 0
    size: int = 1
    sent: int = 0
    memory: SharedMemory | None = None


_ALONE = Group()
_present = _ALONE


def group() -> Group:
    """The processes that train with this one; without others a group of one."""
    return _present


def is_first() -> bool:
    """Whether this process is the one that logs and writes files."""
    return _present.rank == 0


@contextmanager
def working_together() -> Iterator[Group]:
    """Share the work in this block among the processes of torch's default process group."""
    global _present
    _present = Group(dist.get_rank(), dist.get_world_size(), memory=shared_memory())
    try:
        yield _present
    finally:
        _present = _ALONE


@contextmanager
def alone() -> Iterator[None]:
    """Do the work in this block in each process for itself, on whole batches."""
    global _present
    together, _present = _present, _ALONE
    try:
        yield
    finally:
        _present = together


def from_first(make: Callable[[], Any]) -> Any:
    """Call a function in the first process alone; all processes get its result, or its error.

    The result is pickled. It must come from this program, never from a file of unknown origin.
    """
    if _present.size == 1:
        return make()
    made: list[Any] = [None, None]
    if is_first():
        try:
            made[0] = make()
        except Exception as error:  # raised below, in all processes
            made[1] = error
    dist.broadcast_object_list(made, src=0)
    if made[1] is not None:
        raise made[1]
    return made[0]


def from_each(value: Any) -> list[Any]:
    """The value of each process, in the order of their ranks; the values are pickled."""
    if _present.size == 1:
        return [value]
    found: list[Any] = [None] * _present.size
    dist.all_gather_object(found, value)
    return found


def of_process(rank: int, value: Tensor) -> Tensor:
    """The tensor of one of the processes, in place; all tensors have the same shape."""
    _present.sent += value.numel() * value.element_size()
    dist.broadcast(value, src=rank)
    return value


def add_up(values: Tensor) -> Tensor:
    """The sum of each process's tensor, in place; the sum is the same number in all of them."""
    _present.sent += values.numel() * values.element_size()
    if _present.memory is not None and values.device.type == "cpu" and values.is_contiguous():
        _present.memory.add_up(values)
    else:
        dist.all_reduce(values)
    return values


def put_together(rows: Tensor, sizes: list[int]) -> Tensor:
    """The rows of all processes, one process after another.

    Args:
        rows: this process's rows, shape: [sizes[rank], ...]
        sizes: how many rows each process has.
    """
    most = max(sizes)
    padded = rows.new_zeros(most, *rows.shape[1:])
    padded[: len(rows)] = rows
    found = [torch.empty_like(padded) for _ in sizes]
    _present.sent += padded.numel() * padded.element_size()
    dist.all_gather(found, padded)
    return torch.cat([part[:size] for part, size in zip(found, sizes, strict=True)])


def to_first(rows: Tensor) -> list[Tensor]:
    """The rows of each process, in the first process alone; all have the same shape.

    Returns:
        The rows on the CPU, in the order of the ranks; an empty list in the other processes.
    """
    found = [torch.empty_like(rows) for _ in range(_present.size)] if is_first() else []
    _present.sent += 0 if is_first() else rows.numel() * rows.element_size()
    dist.gather(rows, found or None, dst=0)
    return [part.cpu() for part in found]


def deal_out(received: Tensor, rows: list[Tensor] | None) -> None:
    """Write into each process's tensor what the first process has for it.

    Args:
        received: receives the rows; all have the same shape.
        rows: what the first process has for each; ``None`` in the others.
    """
    _present.sent += sum(part.numel() * part.element_size() for part in rows or [])
    dist.scatter(received, rows, src=0)

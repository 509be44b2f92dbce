"""Each process's share of a batch, and the sums and rows of all shares.

With one process the share is the whole batch, and nothing is copied.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from recbole_ext.arithmetic.known_gradient import loss_with_gradients
from recbole_ext.processes.group import add_up, group, of_process, put_together


class Share(NamedTuple):
    """The rows of a batch that this process works on.

    A batch with fewer rows than processes is not divided: each process works on all of it.

    Attributes:
        begin: the first row.
        end: the row after the last.
        total: rows of the batch.
    """

    begin: int
    end: int
    total: int

    @property
    def rows(self) -> slice:
        """The rows as an index."""
        return slice(self.begin, self.end)

    @property
    def divided(self) -> bool:
        """Whether each row is the work of one process alone."""
        return self.total >= group().size

    @property
    def is_part(self) -> bool:
        """Whether other processes work on other rows."""
        return self.end - self.begin < self.total

    @property
    def weight(self) -> float:
        """The part of the batch's rows."""
        return (self.end - self.begin) / self.total


def share_of(total: int) -> Share:
    """The share of this process in a batch of so many rows; shares differ by at most one row."""
    size = group().size
    if total < size:
        return Share(0, total, total)
    begin, end = _borders(total, size)[group().rank : group().rank + 2]
    return Share(begin, end, total)


def one_each() -> Share:
    """The share in a batch of one row for each process: all that they have is added up."""
    return share_of(group().size)


def sum_shares(values: Sequence[Tensor], share: Share) -> list[Tensor]:
    """The sums over all shares of tensors that each process has for its own."""
    if group().size == 1:
        return list(values)
    summed: list[Tensor] = list(values)
    for places in _by_kind(values).values():
        flat = add_up(torch.cat([values[at].reshape(-1) for at in places]))
        if not share.divided:
            flat /= group().size
        parts = flat.split([values[at].numel() for at in places])
        for at, part in zip(places, parts, strict=True):
            summed[at] = part.view(values[at].shape)
    return summed


def join_shares(rows: Tensor, share: Share) -> Tensor:
    """The rows of the whole batch, of which each process has those of its share.

    Args:
        rows: shape: [rows of the share, ...]
        share: the share.
    """
    if group().size == 1 or not share.divided:
        return rows
    borders = _borders(share.total, group().size)
    sizes = [end - begin for begin, end in pairwise(borders)]
    return put_together(rows, sizes)


def shared_loss(
    parameters: Sequence[Tensor],
    loss_of: Callable[[Any], Tensor | tuple[Tensor, ...]],
    batch: Any,
    change: Callable[[Tensor], Tensor] | None = None,
    drops_rows: bool = True,
) -> Tensor | tuple[Tensor, ...]:
    """The loss of a batch with gradients that are summed over the shares of all processes.

    The loss must be a mean over the rows of the batch. Of another loss, such as one that compares
    the rows of a batch, this is the mean over the shares.

    Args:
        parameters: the leaves that the loss depends on.
        loss_of: the loss of a batch, or a tuple of its terms.
        batch: has a length, and gives its rows by a slice or by ``part(share)``.
        change: changes each gradient before it is used.
        drops_rows: whether the loss may have dropout on rows of the batch.

    Returns:
        The loss, shape: [], or its terms; their sum has the gradients.
    """
    if group().size == 1 and change is None:
        return loss_of(batch)
    share = share_of(len(batch))
    with same_draws(), dropout_of(share) if share.is_part and drops_rows else nullcontext():
        terms = loss_of(part_of(batch, share))
    several = isinstance(terms, tuple)
    parts: tuple[Tensor, ...] = terms if isinstance(terms, tuple) else (terms,)
    found = torch.autograd.grad(
        torch.stack([*parts]).sum() * share.weight, list(parameters), allow_unused=True
    )
    used = [at for at, gradient in enumerate(found) if gradient is not None]
    values = [part.detach() * share.weight for part in parts]
    summed = sum_shares([*values, *(_whole(found[at]) for at in used)], share)
    gradients = summed[len(parts) :]
    if change is not None:
        gradients = [change(gradient) for gradient in gradients]
    first = loss_with_gradients(summed[0], [parameters[at] for at in used], gradients)
    if not used:  # ItemKNN and its like train nothing, and RecBole goes backward all the same
        first.requires_grad_()
    return (first, *summed[1 : len(parts)]) if several else first


def part_of(batch: Any, share: Share) -> Any:
    """The rows of a batch that are this process's share."""
    if hasattr(batch, "part"):
        return batch.part(share)
    return batch if group().size == 1 else batch[share.rows]


@contextmanager
def same_draws() -> Iterator[None]:
    """Keep the random numbers of all processes the same after a block that may draw some.

    Shares may draw differently many. After the block all processes go on with the random numbers of
    the first one, if it has drawn any.
    """
    before = torch.get_rng_state() if group().size > 1 else None
    yield
    if before is not None:
        after = torch.get_rng_state()
        if not torch.equal(before, after):
            torch.set_rng_state(of_process(0, after))


class dropout_of(TorchFunctionMode):  # noqa: N801 (a context manager, as torch.no_grad)
    """Dropout that draws for the whole batch, so that a share drops what one process drops in it.

    It is for tensors whose first dimension is that of the share. Any other tensor, such as a table,
    is the same in all processes, and drops the same.
    """

    def __init__(self, share: Share) -> None:
        super().__init__()
        self.share = share

    def __torch_function__(
        self, function: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """See torch; all other functions stay as they are."""
        kwargs = kwargs or {}
        share = self.share
        if function is not F.dropout:
            return function(*args, **kwargs)
        values, *others = args or (kwargs.pop("input"),)
        if len(values) != share.end - share.begin or kwargs.get("inplace"):
            return function(values, *others, **kwargs)
        kept = function(values.new_ones(share.total, *values.shape[1:]), *others, **kwargs)
        return values * kept[share.rows]


def _borders(total: int, size: int) -> list[int]:
    return [total * at // size for at in range(size + 1)]


def _by_kind(values: Sequence[Tensor]) -> dict[tuple[torch.dtype, torch.device], list[int]]:
    places: dict[tuple[torch.dtype, torch.device], list[int]] = defaultdict(list)
    for at, value in enumerate(values):
        places[value.dtype, value.device].append(at)
    return places


def _whole(gradient: Tensor | None) -> Tensor:
    assert gradient is not None
    return gradient.to_dense() if gradient.is_sparse else gradient

"""What the log, the progress bar and TensorBoard show about λ."""

from __future__ import annotations

import contextlib

import numpy as np
from recbole.utils import set_color
from torch.utils.tensorboard import SummaryWriter

from recbole_ext.lambda_opt.lambda_network import LambdaNetwork


def lambda_summary(network: LambdaNetwork, losses: list[float]) -> dict[str, str]:
    """The mean λ and, if there are any, the mean of some λ losses, as text."""
    means = [table.mean().item() for table in network.tables.values()]
    summary = {"mean λ": f"{np.mean(means):.2e}"}
    return {"λ loss": f"{np.mean(losses):.4f}", **summary} if losses else summary


def with_summary(line: str, summary: dict[str, str]) -> str:
    """RecBole's log line of an epoch, ``[…]``, with more values inside the brackets."""
    more = [set_color(name, "blue") + f": {value}" for name, value in summary.items()]
    return ", ".join([line.removesuffix("]"), *more]) + "]"


def write_histograms(tensorboard: SummaryWriter, network: LambdaNetwork, epoch: int) -> None:
    """Write a histogram of each λ table."""
    for name, table in network.tables.items():
        with contextlib.suppress(ValueError):  # TensorBoard's bins end at 1e20
            tensorboard.add_histogram(f"lambda/{name}", table.detach().cpu(), epoch)

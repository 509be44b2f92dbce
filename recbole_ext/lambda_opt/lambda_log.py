"""What the log, the progress bar and TensorBoard show about λ."""

from __future__ import annotations

import contextlib

import numpy as np
from recbole.utils import set_color
from torch.utils.tensorboard import SummaryWriter

from recbole_ext.lambda_opt.lambda_network import Strengths


def lambda_summary(network: Strengths, losses: list[float]) -> dict[str, str]:
    """λ in short and, if there are any, the mean of some λ losses, as text."""
    summary = network.summary()
    return {"λ loss": f"{np.mean(losses):.4f}", **summary} if losses else summary


def with_summary(line: str, summary: dict[str, str]) -> str:
    """RecBole's log line of an epoch, ``[…]``, with more values inside the brackets."""
    more = [set_color(name, "blue") + f": {value}" for name, value in summary.items()]
    return ", ".join([line.removesuffix("]"), *more]) + "]"


def write_histograms(tensorboard: SummaryWriter, network: Strengths, epoch: int) -> None:
    """Write a histogram of each side's λ."""
    for side in ("user", "item"):
        with contextlib.suppress(ValueError):  # TensorBoard's bins end at 1e20
            if network.regularises(side):
                tensorboard.add_histogram(f"lambda/{side}", network.whole(side).cpu(), epoch)

"""What RecBole writes and logs, left to the first process."""

from __future__ import annotations

import logging
from typing import Any


class NoTensorboard:
    """Stands for a ``SummaryWriter`` and writes nothing."""

    def __getattr__(self, name: str) -> Any:
        """Any method of a writer."""
        return lambda *_args, **_kwargs: None


def keep_quiet() -> dict[str, Any]:
    """Let this process log errors only, and write neither a log nor a tensorboard.

    Returns:
        The settings of a process that does so.
    """
    import recbole.quick_start.quick_start as quick_start
    import recbole.trainer.trainer as trainers

    logging.basicConfig(level=logging.ERROR)
    quick_start.init_logger = lambda _config: None
    trainers.get_tensorboard = lambda _logger: NoTensorboard()
    return {"state": "error", "show_progress": False, "log_wandb": False}

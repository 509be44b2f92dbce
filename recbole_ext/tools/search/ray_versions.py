"""What differs between Ray 2.6, which RecBole 1.2.1 pins, and today's Ray."""

from __future__ import annotations

import inspect
from typing import Any


def report(metrics: dict[str, Any]) -> None:
    """Report a trial's metrics from within the trial."""
    from ray import tune

    if "metrics" in inspect.signature(tune.report).parameters:
        tune.report(metrics)
        return
    from ray.air import session

    session.report(metrics)

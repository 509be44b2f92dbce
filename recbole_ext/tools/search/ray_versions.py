"""What differs between Ray 2.6, which RecBole 1.2.1 pins, and today's Ray."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import Any

TOKEN = Path(".ray") / "auth_token"  # in the user's home


def report(metrics: dict[str, Any]) -> None:
    """Report a trial's metrics from within the trial."""
    from ray import tune

    if "metrics" in inspect.signature(tune.report).parameters:
        tune.report(metrics)
        return
    from ray.air import session

    session.report(metrics)


def present_token() -> None:
    """Present the token that today's clusters ask for, if this machine has one.

    ``ray start --head`` makes it. Ray must be told before it is imported. If the user has set
    ``RAY_AUTH_MODE``, it stays as it is.
    """
    if (Path.home() / TOKEN).is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")

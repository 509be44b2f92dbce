"""What a run may end in: finite metrics, or an error that says what is wrong and was meant to."""

from __future__ import annotations

import itertools
import math
import traceback
from typing import Any

from hypothesis import HealthCheck

from tests.worlds.helpers import Run

# How hypothesis tries: the same examples each time, as long as they take.
HOW: dict[str, Any] = {
    "deadline": None,
    "derandomize": True,
    "database": None,
    "suppress_health_check": list(HealthCheck),
}
REFUSALS = (ValueError, FileNotFoundError, NotImplementedError)
_numbers = itertools.count()


def outcome(model: str, settings: dict[str, Any]) -> str:
    """Train, validate and test; ``trained`` or ``refused``.

    Raises:
        AssertionError: for anything else: an error of another kind, one that nobody raised on
            purpose, or a metric that is no number.
    """
    here = {"checkpoint_dir": f"saved-{next(_numbers)}"}
    try:
        result = Run(model, **{**here, "epochs": 1, **settings}).fit().test()
    except Exception as error:
        _check_refusal(error)
        return "refused"
    assert result
    assert all(math.isfinite(value) for value in result.values()), result
    return "trained"


def _check_refusal(error: Exception) -> None:
    where = traceback.extract_tb(error.__traceback__)[-1]
    assert isinstance(error, REFUSALS), f"{type(error).__name__} in {where}: {error}"
    assert "/recbole" in where.filename, f"{where}: {error}"
    assert (where.line or "").startswith("raise "), f"{where}: {error}"

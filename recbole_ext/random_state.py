"""Every random generator that training draws from, as values that a checkpoint can hold safely."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


def capture_random_state(loader_generator: torch.Generator | None = None) -> dict[str, Any]:
    """The state of Python's, numpy's and torch's generators, and of the training loader's."""
    kind, keys, *rest = np.random.get_state()
    state = {
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
    if loader_generator is not None:
        state["loader"] = loader_generator.get_state()
    return state


def restore_random_state(
    state: dict[str, Any], loader_generator: torch.Generator | None = None
) -> None:
    """Put every generator back to a captured state."""
    random.setstate(state["python"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.cpu().numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"].cpu())
    if torch.cuda.is_available():
        devices = state["cuda"][: torch.cuda.device_count()]
        torch.cuda.set_rng_state_all([device.cpu() for device in devices])
    if loader_generator is not None and "loader" in state:
        loader_generator.set_state(state["loader"].cpu())

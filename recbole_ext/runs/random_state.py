"""The state of all random generators of a training run, in values that are safe to load."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

Generators = dict[str, torch.Generator]


def generators_of(loader: Any) -> Generators:
    """The random generators of a loader and of the loaders inside it, by name.

    The loader of RecBole's knowledge models alternates between two loaders.
    """
    found = {}
    for name, part in {"": loader, **getattr(loader, "__dict__", {})}.items():
        generator = getattr(part, "generator", None)
        if isinstance(generator, torch.Generator):
            found[name] = generator
    return found


def capture_random_state(generators: Generators) -> dict[str, Any]:
    """The state of Python's, numpy's and torch's generators, and of the training loader's."""
    kind, keys, *rest = np.random.get_state()
    state = {
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
    state["loaders"] = {name: generator.get_state() for name, generator in generators.items()}
    return state


def restore_random_state(state: dict[str, Any], generators: Generators) -> None:
    """Restore a captured state of every generator."""
    random.setstate(state["python"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.cpu().numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"].cpu())
    if torch.cuda.is_available():
        devices = state["cuda"][: torch.cuda.device_count()]
        torch.cuda.set_rng_state_all([device.cpu() for device in devices])
    saved = state.get("loaders", {})
    for name in generators.keys() & saved.keys():
        generators[name].set_state(saved[name].cpu())

"""Writing a batch of tasks into the slots of a memory.

Reference:
    Dong et al. "MAMO: Memory-Augmented Meta-Optimization for Cold-start Recommendation." KDD 2020,
    equations 4, 9 and 13: ``M ← rate · (attention ⊗ value) + (1 − rate) · M`` for one task.
"""

from __future__ import annotations

import torch
from torch import Tensor

WRITE_RULES = ("mean", "sequential")


def blend(memory: Tensor, attention: Tensor, values: Tensor, rate: float, rule: str) -> Tensor:
    """The memory after a batch of tasks; for one task both rules are the paper's equation.

    Args:
        memory: shape: [slots, ...]
        attention: attention of each task on each slot, computed before the batch is written,
            shape: [tasks, slots]
        values: the values that each task writes, shape: [tasks, ...]
        rate: the share of a write that is new, from 0 to 1.
        rule: ``mean`` writes the mean over the tasks once. ``sequential`` writes one task after
            another in the batch's order, so that the last tasks weigh most.

    Returns:
        A new tensor, shape: [slots, ...]
    """
    tasks = len(attention)
    if rule == "mean":
        kept = 1 - rate
        weights = attention.new_full((tasks,), rate / max(tasks, 1))
    else:
        kept = (1 - rate) ** tasks
        later = torch.arange(tasks - 1, -1, -1, device=attention.device)
        weights = rate * (1 - rate) ** later.to(attention.dtype)
    written = torch.einsum("t,ts,t...->s...", weights, attention, values)
    return kept * memory + written
